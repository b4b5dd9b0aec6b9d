"""Which conversations share a bin, and which bins an optimizer step: the same for any number of workers.

Each epoch is a fresh random order. A step takes as many conversations from it as have room in `bins_per_step`
bins of `max_tokens`, and spreads them by longest processing time (Graham 1969; MultiPack of OpenChat v2
packs each worker's share so, by tokens): dearest first, each into the cheapest bin, because a step takes
as long as its dearest bin. What a bin has no room for comes first in the next step. Nothing is dropped:
what is left at the end of an epoch is a smaller step, whose bins may be empty, and the loss is normalised
by what a step really holds.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """Every bin of a whole run.

    `order`: conversation indices, bin after bin, of all epochs, int64. `bounds`: bin i holds
    `order[bounds[i]:bounds[i + 1]]`; step s has bins s * bins_per_step onwards. `epoch_ends`: number of
    steps done when each epoch ends.
    """

    bins_per_step: int
    order: Ints
    bounds: Ints
    epoch_ends: Ints

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        return (len(self.bounds) - 1) // self.bins_per_step

    def bin(self, step: int, index: int) -> Ints:
        """Conversations of bin `index` of a step; may be empty."""
        at = step * self.bins_per_step + index
        return self.order[self.bounds[at] : self.bounds[at + 1]]

    def step(self, step: int) -> Ints:
        """Conversations of a step, over all bins."""
        first = step * self.bins_per_step
        return self.order[self.bounds[first] : self.bounds[first + self.bins_per_step]]

    def epoch(self, step: int) -> int:
        """The epoch of a step, from 0."""
        return int(np.searchsorted(self.epoch_ends, step, side="right"))

    @cached_property
    def hash(self) -> str:
        """sha256 of the plan, hex: a resumed run must continue the very same one."""
        sha = hashlib.sha256(str(self.bins_per_step).encode())
        for array in (self.order, self.bounds, self.epoch_ends):
            sha.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        return sha.hexdigest()

    def save(self, path: Path) -> None:
        """Write as .npz."""
        np.savez(
            path,
            bins_per_step=self.bins_per_step,
            order=self.order,
            bounds=self.bounds,
            epoch_ends=self.epoch_ends,
        )

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(int(saved["bins_per_step"]), saved["order"], saved["bounds"], saved["epoch_ends"])


def make_plan(
    lengths_N: Ints,
    *,
    max_tokens: int,
    bins_per_step: int,
    epochs: int,
    seed: int,
    attention_cost: float = 0.0,
) -> Plan:
    """The plan of a run over conversations of these lengths, tokens, each from 1 to `max_tokens`.

    One of them costs `length + attention_cost * length**2`. For a model of N parameters in L layers of
    width d, `attention_cost` is L d / N: training takes 6 N length operations without attention, and
    causal attention 6 L d length**2. At 0 bins are balanced by tokens alone.
    """
    assert len(lengths_N) and lengths_N.min() > 0 and lengths_N.max() <= max_tokens
    # Whole numbers, because sums of floats depend on their order; a sixteenth of a token is fine enough.
    costs_N = np.rint(16 * (lengths_N + attention_cost * lengths_N**2.0)).astype(np.int64)
    orders, counts, ends, steps = [], [np.zeros(1, np.int64)], [], 0
    for epoch in range(epochs):
        shuffled = np.random.default_rng([seed, epoch]).permutation(len(lengths_N))
        for chosen, sizes in _steps(lengths_N[shuffled], costs_N[shuffled], max_tokens, bins_per_step):
            orders.append(shuffled[chosen])
            counts.append(sizes)
            steps += 1
        ends.append(steps)
    return Plan(
        bins_per_step=bins_per_step,
        order=np.concatenate(orders).astype(np.int64),
        bounds=np.concatenate(counts).cumsum(),
        epoch_ends=np.array(ends, np.int64),
    )


def _steps(lengths: Ints, costs: Ints, max_tokens: int, bins: int) -> Iterator[tuple[Ints, Ints]]:
    """For each step: positions in `lengths`, bin after bin, and how many of them each bin holds."""
    ends = np.concatenate([[0], lengths.cumsum()])
    start, waiting = 0, np.zeros(0, np.int64)
    while start < len(lengths) or len(waiting):
        room = bins * max_tokens - lengths[waiting].sum()
        stop = int(np.searchsorted(ends, ends[start] + room, side="right")) - 1
        taken = np.concatenate([waiting, np.arange(start, stop)])
        taken = taken[np.argsort(-lengths[taken], kind="stable")]
        places = _spread(costs[taken], bins)
        by_bin = np.argsort(places, kind="stable")
        taken, places = taken[by_bin], places[by_bin]
        used = np.concatenate([[0], lengths[taken].cumsum()])
        before = used[np.searchsorted(places, places)]  # tokens of the bins before each one's own
        fits = used[1:] - before <= max_tokens  # true of each bin's first, so that no step is empty
        yield taken[fits], np.bincount(places[fits], minlength=bins)
        start, waiting = stop, taken[~fits]


def _spread(costs: Ints, bins: int) -> Ints:
    """The bin of each cost, highest first: the one of the lowest sum so far."""
    # A heap entry is sum * bins + bin: plain integers compare much faster than tuples.
    heap = list(range(bins))
    replace = heapq.heapreplace
    popped = [replace(heap, heap[0] + cost) for cost in (costs * bins).tolist()]
    return np.array(popped, np.int64) % bins
