"""Keys and values of all requests, and attention over them.

S: tokens of the cache, T: tokens of a step, N: requests of a step, H: query heads, K: key/value heads,
D: head size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ochat_ray.errors import CheckpointError
from ochat_ray.serve.engine.room import Move

# What models pass to an attention function when plain causal attention is not theirs.
UNSUPPORTED = {
    "softcap": "soft-capped attention logits",
    "s_aux": "attention sinks",
    "position_bias": "position biases",
}


class Span(NamedTuple):
    """Tokens [start, end) of a request whose keys and values begin at `offset` of the cache."""

    offset: int
    start: int
    end: int


class KVCache(ABC):
    """Room for `tokens` keys and values, and the attention function of a model that uses it.

    Layers are allocated when first used, in the shapes the model has.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.windows: set[int] = set()  # that layers asked for
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @abstractmethod
    def move(self, moves: Sequence[Move]) -> None:
        """Copy stretches of the cache, in order."""

    @abstractmethod
    def prepare(self, spans: Sequence[Span], device: torch.device) -> None:
        """Set the requests of the step, in the order of its rows."""

    @abstractmethod
    def run(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
        window: int | None,
    ) -> Tensor:
        """Store the step's keys and values [K T D]; attention of its queries [H T D] over all, [T H D].

        With a `window`, a token sees itself and the `window - 1` tokens before it.
        """

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        sliding_window: int | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """`run`, as transformers calls it: query [1 H T D], key and value [1 K T D], output [1 T H D].

        Raises CheckpointError for kinds of attention that this is not.
        """
        kind = next((what for name, what in UNSUPPORTED.items() if kwargs.get(name) is not None), None)
        if attention_mask is not None:
            kind = "an attention mask of its own"
        if kind is not None:
            raise CheckpointError(
                f"{type(module).__name__} uses {kind}, which the engine cannot compute rightly yet; "
                "serve a model with plain causal attention"
            )
        if sliding_window is not None:
            self.windows.add(sliding_window)
        layer = int(module.layer_idx)
        return self.run(layer, query[0], key[0], value[0], scaling, sliding_window)[None], None


class SegmentCache(KVCache):
    """For CPUs: one exact call a request, over keys that lie together in memory, [K S D] a layer.

    In float32 whatever the model computes in: attention of one token is many times faster so.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self._index_T: Tensor | None = None
        self._spans: Sequence[Span] = ()
        self._masks: dict[tuple[Span, int | None], Tensor | None] = {}

    def move(self, moves: Sequence[Move]) -> None:
        for source, target, size in moves:
            for layer in self._layers.values():
                for tensor in layer:
                    # The copy may overlap its source.
                    tensor[:, target : target + size] = tensor[:, source : source + size].clone()

    def prepare(self, spans: Sequence[Span], device: torch.device) -> None:
        index = [at for span in spans for at in range(span.offset + span.start, span.offset + span.end)]
        self._index_T = torch.tensor(index, device=device)
        self._spans = spans
        self._masks.clear()

    def run(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
        window: int | None,
    ) -> Tensor:
        keys, values = self._store(layer, key, value)
        heads, kv_heads = query.shape[0], keys.shape[0]
        query = query.float()
        out = query.new_empty(query.shape[1], heads, values.shape[-1])
        first = 0
        for span in self._spans:
            last = first + span.end - span.start
            low = 0 if window is None else max(0, span.start + 1 - window)  # that the first row sees
            seen = slice(span.offset + low, span.offset + span.end)
            span_keys, span_values = keys[None, :, seen], values[None, :, seen]
            if last - first == 1:
                # One token sees every key: the heads that share keys go in as rows, so nothing is repeated.
                shared = query[:, first].view(1, kv_heads, heads // kv_heads, -1)
                result = scaled_dot_product_attention(shared, span_keys, span_values, scale=scaling)
                out[first] = result.view(heads, -1)
            else:
                mask = self._mask(span, window)
                result = scaled_dot_product_attention(
                    query[None, :, first:last],
                    span_keys,
                    span_values,
                    attn_mask=mask,
                    is_causal=mask is None,
                    scale=scaling,
                    enable_gqa=heads != kv_heads,
                )
                out[first:last] = result[0].transpose(0, 1)
            first = last
        return out.to(key.dtype)

    def _mask(self, span: Span, window: int | None) -> Tensor | None:
        """Which keys each row of a stretch may see; None for the plain triangle at a prompt's start."""
        if span.start == 0 and (window is None or window >= span.end):
            return None
        key = (span, window)
        if key not in self._masks:  # the same for all layers of a kind
            low = 0 if window is None else max(0, span.start + 1 - window)
            mask = torch.ones(span.end - span.start, span.end - low, dtype=torch.bool).tril(span.start - low)
            if window is not None:
                mask = mask.triu(span.start - low - window + 1)
            self._masks[key] = mask
        return self._masks[key]

    def _store(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if layer not in self._layers:
            self._layers[layer] = (
                torch.empty(key.shape[0], self.tokens, key.shape[2]),
                torch.empty(value.shape[0], self.tokens, value.shape[2]),
            )
        keys, values = self._layers[layer]
        assert self._index_T is not None
        keys.index_copy_(1, self._index_T, key.float())
        values.index_copy_(1, self._index_T, value.float())
        return keys, values
