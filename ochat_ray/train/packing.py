"""Which conversations share a bin, and which bins an optimizer step: the same for any number of workers.

Each epoch is a fresh random order, cut into steps of `bins_per_step` bins of at most `max_tokens`.
A step takes as many conversations from the order as still fit, spread by longest processing time
(Graham 1969; MultiPack of OpenChat v2 packs each worker's share so): longest first, each into the
emptiest bin. Nothing is dropped: what is left at the end of an epoch is a smaller step, whose bins may
be empty, and the loss is normalised by what a step really holds.
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


def make_plan(lengths_N: Ints, *, max_tokens: int, bins_per_step: int, epochs: int, seed: int) -> Plan:
    """The plan of a run over conversations of these lengths, tokens, each from 1 to `max_tokens`."""
    assert len(lengths_N) and lengths_N.min() > 0 and lengths_N.max() <= max_tokens
    orders, counts, ends, steps = [], [np.zeros(1, np.int64)], [], 0
    for epoch in range(epochs):
        shuffled = np.random.default_rng([seed, epoch]).permutation(len(lengths_N))
        for chosen, bins in _steps(lengths_N[shuffled], max_tokens, bins_per_step):
            by_bin = np.argsort(bins, kind="stable")
            orders.append(shuffled[chosen[by_bin]])
            counts.append(np.bincount(bins, minlength=bins_per_step))
            steps += 1
        ends.append(steps)
    return Plan(
        bins_per_step=bins_per_step,
        order=np.concatenate(orders).astype(np.int64),
        bounds=np.concatenate(counts).cumsum(),
        epoch_ends=np.array(ends, np.int64),
    )


def _steps(lengths: Ints, max_tokens: int, bins: int) -> Iterator[tuple[Ints, Ints]]:
    """For each step: positions in `lengths`, longest first, and the bin of each."""
    ends = np.concatenate([[0], lengths.cumsum()])
    room = bins * max_tokens
    start = waste = 0
    while start < len(lengths):
        # Steps of a run waste about as much as each other: search from what the last one wasted.
        guess, most = np.searchsorted(ends, ends[start] + [room - waste, room], side="right") - 1 - start
        size, chosen, placed = _largest_fit(lengths[start:], int(guess), int(most), max_tokens, bins)
        yield chosen + start, placed
        waste = room - int(ends[start + size] - ends[start])
        start += size


def _largest_fit(lengths: Ints, guess: int, most: int, max_tokens: int, bins: int) -> tuple[int, Ints, Ints]:
    """A beginning of `lengths` that fits and is within 1/256 of the longest found to: its size and spread.

    Doubling strides from `guess` until the answer changes, then bisection.
    """
    fits, limit = min(bins, len(lengths)), most  # one conversation a bin always fits
    best = None
    size, stride, turned = guess, 1, {True: False, False: False}
    while limit - fits > fits // 256:
        size = min(max(size, fits + 1), limit)
        found = _spread(lengths[:size], max_tokens, bins)
        turned[found is None] = True
        if found is None:
            limit = size - 1
        else:
            fits, best = size, found
        if all(turned.values()):
            size = (fits + limit + 1) // 2
        else:
            size += stride if found else -stride
            stride *= 2
    best = best or _spread(lengths[:fits], max_tokens, bins)
    assert best is not None
    return fits, *best


def _spread(lengths: Ints, max_tokens: int, bins: int) -> tuple[Ints, Ints] | None:
    """Longest processing time: positions, longest first, and the bin of each; None if a bin overflows."""
    chosen = np.argsort(-lengths, kind="stable")
    # A heap entry is load * bins + bin: plain integers compare much faster than tuples.
    heap = list(range(bins))
    replace = heapq.heapreplace
    popped = [replace(heap, heap[0] + length) for length in (lengths[chosen] * bins).tolist()]
    if max(heap) >= (max_tokens + 1) * bins:
        return None
    return chosen, np.array(popped, np.int64) % bins
