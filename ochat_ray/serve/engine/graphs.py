"""Steps in which every request generates, as CUDA graphs: launched at once instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ochat_ray.serve.engine.kv_cache import Span
from ochat_ray.serve.engine.varlen import Layout, VarlenCache

WARM_UPS = 2  # before a capture, so that libraries have set themselves up


@dataclass(slots=True)
class _Batch:
    """Inputs at fixed addresses for `size` requests, and what replays the step over them."""

    size: int
    inputs_2B: Tensor
    layout: Layout
    replay: Callable[[], Tensor]


class DecodeGraphs:
    """One graph for each of a few batch sizes; smaller batches are filled up with rows that nobody reads.

    `forward(ids_B, positions_B)` gives logits [B V] over the cache's layout. Without `capture` it is called
    each time, which is what a graph would do.
    """

    def __init__(
        self,
        cache: VarlenCache,
        forward: Callable[[Tensor, Tensor], Tensor],
        *,
        most: int,
        longest: int,
        device: torch.device,
        capture: bool,
    ) -> None:
        self._cache = cache
        self._forward = forward
        self._longest = longest
        self._device = device
        self._capture = capture
        self._pool: Any = None
        self._batches: dict[int, _Batch] = {}
        self.sizes = [size for size in (2**n for n in range(12)) if size < most] + [most]

    def run(self, ids: Sequence[int], spans: Sequence[Span]) -> Tensor:
        """Logits [N V] of the next token of N requests; `ids` are their last tokens."""
        size = next(size for size in self.sizes if size >= len(ids))
        if size not in self._batches:
            self._batches[size] = self._new(size)
        batch = self._batches[size]
        spare = size - len(ids)
        end = self._cache.tokens
        layout = batch.layout
        _fill(batch.inputs_2B, [[*ids, *[0] * spare], [*(s.start for s in spans), *[0] * spare]])
        _fill(layout.index_T, [*(s.offset + s.start for s in spans), *[end] * spare])
        _fill(layout.cu_seq_k, [*(s.offset for s in spans), *[end] * (spare + 1)])
        _fill(layout.used_N, [*(s.end for s in spans), *[1] * spare])
        self._cache.layout = layout
        return batch.replay()[: len(ids)]

    def _new(self, size: int) -> _Batch:
        end = self._cache.tokens

        def full(length: int, value: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.full((length,), value, dtype=dtype, device=self._device)

        inputs_2B = torch.zeros(2, size, dtype=torch.long, device=self._device)
        layout = Layout(
            full(size, end, torch.long),
            torch.arange(size + 1, dtype=torch.int32, device=self._device),
            full(size + 1, end),
            full(size, 1),
            max_q=1,
            max_k=self._longest,  # the same for every replay
        )

        def step() -> Tensor:
            return self._forward(inputs_2B[0], inputs_2B[1])

        if not self._capture:
            return _Batch(size, inputs_2B, layout, step)
        self._cache.layout = layout
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits_BV = step()
        self._pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return logits_BV

        return _Batch(size, inputs_2B, layout, replay)


def _fill(target: Tensor, values: Any) -> None:
    target.copy_(torch.tensor(values, dtype=target.dtype))
