"""Keys and values of all requests, and attention over them.

S: tokens of the cache, T: tokens of a step, N: requests of a step, H: query heads, K: key/value heads,
D: head size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ochat_ray.errors import CheckpointError
from ochat_ray.serve.engine import decode
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

    @property
    def places(self) -> range:
        """Where in the cache these tokens lie."""
        return range(self.offset + self.start, self.offset + self.end)


class KVCache(ABC):
    """Room for `tokens` keys and values, and the attention function of a model that uses it.

    Layers are allocated when first used, in the shapes the model has; `PLACES` is the dimension of tokens.
    """

    PLACES: ClassVar[int]

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.windows: set[int] = set()  # that layers asked for
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def move(self, moves: Sequence[Move]) -> None:
        """Copy stretches of the cache, in order."""
        for source, target, size in moves:
            for layer in self._layers.values():
                for tensor in layer:
                    # The copy may overlap its source.
                    copied = tensor.narrow(self.PLACES, source, size).clone()
                    tensor.narrow(self.PLACES, target, size).copy_(copied)

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
    """For CPUs: exact attention request by request, over keys that lie together in memory, [K S D] a layer.

    In float32 whatever the model computes in: attention of one token is many times faster so.
    """

    PLACES = 1

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self._index_T: Tensor | None = None
        self._single: list[tuple[int, Span]] = []  # row and span of those that run one token
        self._stretches: list[tuple[int, Span]] = []  # first row and span of the others
        self._rows_N = torch.empty(0, dtype=torch.long)
        self._masks: dict[tuple[Span, int | None], Tensor | None] = {}
        threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(threads, "attention") if threads > 1 else None
        self._threads = threads

    def prepare(self, spans: Sequence[Span], device: torch.device) -> None:
        index = [place for span in spans for place in span.places]
        self._index_T = torch.tensor(index, device=device)
        self._single, self._stretches, row = [], [], 0
        for span in spans:
            (self._single if span.end - span.start == 1 else self._stretches).append((row, span))
            row += span.end - span.start
        self._rows_N = torch.tensor([row for row, _ in self._single], dtype=torch.long, device=device)
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
        query_T = query.float().transpose(0, 1)
        out = query_T.new_empty(query_T.shape[0], query.shape[0], values.shape[-1])
        if self._single:
            out[self._rows_N] = self._attend_single(query_T[self._rows_N], keys, values, scaling, window)
        for first, span in self._stretches:
            low = _lowest(span, window)
            seen = slice(span.offset + low, span.offset + span.end)
            rows = slice(first, first + span.end - span.start)
            mask = self._mask(span, window)
            result = scaled_dot_product_attention(
                query_T[rows].transpose(0, 1)[None],
                keys[None, :, seen],
                values[None, :, seen],
                attn_mask=mask,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=query.shape[0] != keys.shape[0],
            )
            out[rows] = result[0].transpose(0, 1)
        return out.to(key.dtype)

    def _attend_single(
        self, query_N: Tensor, keys: Tensor, values: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        """[N H D] for those that run one token."""
        spans = [span for _, span in self._single]
        starts = np.array([span.offset + _lowest(span, window) for span in spans])
        stops = np.array([span.offset + span.end for span in spans])
        scale = np.float32(query_N.shape[-1] ** -0.5 if scaling is None else scaling)
        out = query_N.new_empty(*query_N.shape[:2], values.shape[-1])
        queries, outs = query_N.contiguous().numpy(), out.numpy()
        whole = (keys.numpy(), values.numpy())
        if self._pool is None:
            decode.attend(queries, *whole, starts, stops, scale, outs)
            return out
        borders = np.linspace(0, len(spans), self._threads + 1).astype(int)
        parts = [slice(a, b) for a, b in pairwise(borders) if a < b]

        def part(rows: slice) -> None:
            decode.attend(queries[rows], *whole, starts[rows], stops[rows], scale, outs[rows])

        list(self._pool.map(part, parts))
        return out

    def _mask(self, span: Span, window: int | None) -> Tensor | None:
        """Which keys each row of a stretch may see; None for the plain triangle at a prompt's start."""
        if span.start == 0 and (window is None or window >= span.end):
            return None
        key = (span, window)
        if key not in self._masks:  # the same for all layers of a kind
            low = _lowest(span, window)
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


def _lowest(span: Span, window: int | None) -> int:
    """The first token that the first row of a stretch sees."""
    return 0 if window is None else max(0, span.start + 1 - window)
