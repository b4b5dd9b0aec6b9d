"""The cache for GPUs: one variable-length attention call for all requests of a step.

S: tokens of the cache, T: tokens of a step, N: requests of a step, H: query heads, K: key/value heads,
D: head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from ochat_ray.serve.engine.kv_cache import KVCache, Span


@dataclass(slots=True)
class Layout:
    """Where a step's rows lie, all int32 but `index_T`.

    Spans are disjoint and in order, so the place where each begins serves as its cumulative length, and
    `used_N` says how much of it is a request's: keys are read in place, without pages.
    """

    index_T: Tensor
    cu_seq_q: Tensor  # [N + 1]
    cu_seq_k: Tensor  # [N + 1]
    used_N: Tensor
    max_q: int
    max_k: int


class VarlenCache(KVCache):
    """Keys and values as [S + 1 K D] a layer; the last place is for rows that only fill a batch up.

    `attention` is `torch.nn.attention.varlen.varlen_attn`, or one that does the same.
    """

    PLACES = 0

    def __init__(self, tokens: int, attention: Callable[..., Any]) -> None:
        super().__init__(tokens)
        self._attention = attention
        self.layout: Layout | None = None

    def prepare(self, spans: Sequence[Span], device: torch.device) -> None:
        index = [place for span in spans for place in span.places]
        rows = [span.end - span.start for span in spans]
        used = [span.end for span in spans]
        starts = [*(span.offset for span in spans), self.tokens]
        cu_seq_q, cu_seq_k, used_N = (
            torch.tensor(one, dtype=torch.int32, device=device)
            for one in ([0, *accumulate(rows)], starts, used)
        )
        index_T = torch.tensor(index, device=device)
        self.layout = Layout(index_T, cu_seq_q, cu_seq_k, used_N, max_q=max(rows), max_k=max(used))

    def run(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
        window: int | None,
    ) -> Tensor:
        layout = self.layout
        assert layout is not None
        if layer not in self._layers:
            self._layers[layer] = (
                key.new_empty(self.tokens + 1, key.shape[0], key.shape[2]),
                value.new_empty(self.tokens + 1, value.shape[0], value.shape[2]),
            )
        keys, values = self._layers[layer]
        keys.index_copy_(0, layout.index_T, key.transpose(0, 1))
        values.index_copy_(0, layout.index_T, value.transpose(0, 1))
        out: Tensor = self._attention(
            query.transpose(0, 1).contiguous(),
            keys,
            values,
            layout.cu_seq_q,
            layout.cu_seq_k,
            layout.max_q,
            layout.max_k,
            scale=scaling,
            window_size=(-1 if window is None else window - 1, 0),
            enable_gqa=query.shape[0] != key.shape[0],
            seqused_k=layout.used_N,
        )
        return out
