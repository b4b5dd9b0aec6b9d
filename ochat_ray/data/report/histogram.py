"""Counts by size, in bins that workers can fill apart and add up. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Self

from pydantic import model_validator

from ochat_ray.strict import StrictModel

_DOUBLINGS = 40


class Histogram(StrictModel):
    """How many values fall into each bin."""

    edges: tuple[int, ...]
    """Borders of the bins, ascending, one more than there are bins; both empty where nothing was counted.
    A bin holds the values from its lower border up to, not including, its upper one."""
    counts: tuple[int, ...]
    """Values in each bin."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.edges) != (len(self.counts) + 1 if self.counts else 0):
            raise ValueError(f"{len(self.edges)} edges for {len(self.counts)} bins")
        if any(high <= low for low, high in pairwise(self.edges)):
            raise ValueError("edges must ascend")
        return self

    @property
    def total(self) -> int:
        """All values."""
        return sum(self.counts)

    def trimmed(self) -> Histogram:
        """Without the empty bins at both ends."""
        filled = [index for index, count in enumerate(self.counts) if count]
        if not filled:
            return Histogram(edges=(), counts=())
        first, last = filled[0], filled[-1]
        return Histogram(edges=self.edges[first : last + 2], counts=self.counts[first : last + 1])

    def quantile(self, share: float) -> float:
        """The value that `share` of the values stay below, as if they were spread evenly in their bin.

        0 where nothing was counted.
        """
        if not self.total:
            return 0.0
        wanted = share * self.total
        for low, high, count in zip(self.edges, self.edges[1:], self.counts, strict=False):
            if count and wanted <= count:
                return low + (high - low) * wanted / count
            wanted -= count
        return float(self.edges[-1])


def bins(per_doubling: int) -> tuple[int, ...]:
    """Edges 0, 1, ... 2**40 with `per_doubling` bins, equally wide in ratio, between powers of two.

    Powers of two are edges, so that most contexts are. Small edges are whole numbers, and fewer.
    """
    edges = {round(2 ** (step / per_doubling)) for step in range(_DOUBLINGS * per_doubling + 1)}
    return (0, *sorted(edges))


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """The histogram of all values of histograms over the same edges; of none, the empty one."""
    merged = Histogram(edges=(), counts=())
    for one in histograms:
        counts = merged.counts or (0,) * len(one.counts)
        merged = Histogram(
            edges=one.edges, counts=tuple(a + b for a, b in zip(counts, one.counts, strict=True))
        )
    return merged


def count(values: Iterable[int], edges: tuple[int, ...]) -> Histogram:
    """The histogram of values of at least `edges[0]`; those beyond the last edge go into the last bin."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(bisect_right(edges, value), len(counts)) - 1] += 1
    return Histogram(edges=edges, counts=tuple(counts))
