"""Keys and values of all requests, one tensor each a layer, and attention over them.

S: tokens of the cache, T: tokens of a step, H: query heads, K: key/value heads, D: head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ochat_ray.errors import CheckpointError
from ochat_ray.serve.engine.room import Move

# What models pass to an attention function when exact causal attention over all tokens is not theirs.
UNSUPPORTED = {
    "softcap": "soft-capped attention logits",
    "s_aux": "attention sinks",
    "position_bias": "position biases",
}


class Segment(NamedTuple):
    """Rows [first, last) of a step: a request's tokens, whose keys end at `stop` in the cache."""

    first: int
    last: int
    start: int
    stop: int
    mask: Tensor | None
    """Which keys each row may see; None: all of them, or at a prompt's start the plain triangle."""


class KVCache:
    """Room for `tokens` keys and values, and the attention function of a model that uses it.

    Each request's keys are contiguous, so attention is one exact call a request, without padding or a
    mask over other requests. Layers are allocated when first used, in the shapes the model has.
    """

    def __init__(self, tokens: int, longest: int) -> None:
        self.tokens = tokens
        self.longest = longest  # tokens that a request can have; a window at least as long has no effect
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}  # K S D each
        self._index_T: Tensor | None = None
        self._segments: list[Segment] = []

    def move(self, moves: Sequence[Move]) -> None:
        """Copy stretches of the cache, in order."""
        for source, target, size in moves:
            for layer in self._layers.values():
                for tensor in layer:
                    # The copy may overlap its source.
                    tensor[:, target : target + size] = tensor[:, source : source + size].clone()

    def prepare(self, spans: Sequence[tuple[int, int, int]], device: torch.device) -> None:
        """Set the step's requests, each (offset, start, end): tokens [start, end) of the one at offset."""
        index: list[int] = []
        self._segments = []
        for offset, start, end in spans:
            first = len(index)
            index += range(offset + start, offset + end)
            mask = None
            if start > 0 and end - start > 1:
                mask = torch.ones(end - start, end, dtype=torch.bool, device=device).tril(start)
            self._segments.append(Segment(first, len(index), offset, offset + end, mask))
        self._index_T = torch.tensor(index, device=device)

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """Attention of a packed step, as transformers calls it: query [1 H T D], key and value [1 K T D].

        Stores the step's keys and values. Returns [1 T H D]. Raises CheckpointError for kinds of
        attention that this is not.
        """
        self._refuse(module, attention_mask, kwargs)
        keys, values = self._store(int(module.layer_idx), key[0], value[0])
        heads, kv_heads = query.shape[1], keys.shape[0]
        out = query.new_empty(1, query.shape[2], heads, values.shape[-1])
        for first, last, start, stop, mask in self._segments:
            segment_keys, segment_values = keys[None, :, start:stop], values[None, :, start:stop]
            rows = query[:, :, first:last]
            if last - first == 1:
                # One token sees every key: the heads that share keys go in as rows, so nothing is repeated.
                shared = rows.reshape(1, kv_heads, heads // kv_heads, -1)
                result = scaled_dot_product_attention(shared, segment_keys, segment_values, scale=scaling)
                out[0, first] = result.reshape(heads, -1)
            else:
                result = scaled_dot_product_attention(
                    rows,
                    segment_keys,
                    segment_values,
                    attn_mask=mask,
                    is_causal=mask is None,
                    scale=scaling,
                    enable_gqa=heads != kv_heads,
                )
                out[0, first:last] = result[0].transpose(0, 1)
        return out, None

    def _store(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if layer not in self._layers:
            self._layers[layer] = (
                key.new_empty(key.shape[0], self.tokens, key.shape[2]),
                value.new_empty(value.shape[0], self.tokens, value.shape[2]),
            )
        keys, values = self._layers[layer]
        assert self._index_T is not None
        keys.index_copy_(1, self._index_T, key)
        values.index_copy_(1, self._index_T, value)
        return keys, values

    def _refuse(self, module: nn.Module, attention_mask: Tensor | None, kwargs: dict[str, Any]) -> None:
        kind = next((what for name, what in UNSUPPORTED.items() if kwargs.get(name) is not None), None)
        window = kwargs.get("sliding_window")
        if window is not None and window < self.longest:
            kind = f"a sliding window of {window} tokens, shorter than the {self.longest} of a request"
        if attention_mask is not None:
            kind = "an attention mask of its own"
        if kind is not None:
            raise CheckpointError(
                f"{type(module).__name__} uses {kind}, which the engine cannot compute rightly yet; "
                "serve a model with plain causal attention"
            )
