"""Series of steps made fit to be drawn: smoothed, and thinned out without losing what stands out. Pure.

Letters in names: N values of a series.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

MOST_POINTS = 1200
"""Points of a line, about two for each pixel of a chart."""
SMOOTH_SHARE = 40
"""A smoothed value is a mean over about this part of the run."""
LEAST_TO_SMOOTH = 20


@dataclass(frozen=True)
class Series:
    """Values at steps, in order."""

    steps_N: np.ndarray
    values_N: np.ndarray

    def __len__(self) -> int:
        return len(self.steps_N)

    @classmethod
    def of(cls, entries: list[dict[str, Any]], name: str) -> Series:
        """The values of one name, of the entries that have it."""
        found = [(entry["step"], entry[name]) for entry in entries if is_number(entry.get(name))]
        return cls(
            np.array([step for step, _ in found], dtype=np.int64),
            np.array([value for _, value in found], dtype=np.float64),
        )


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether a value can be drawn: it is there, and finite."""
    return value is not None and math.isfinite(value)


def smoothed(series: Series) -> Series | None:
    """Means of values around each, which do not lag as means of those before would; None for few values."""
    if len(series) < LEAST_TO_SMOOTH:
        return None
    reach = max(2, len(series) // SMOOTH_SHARE // 2)
    # Twice: values then count the less the further they are, and a lone peak leaves a hill, not a box.
    return Series(series.steps_N, _means(_means(series.values_N, reach), reach))


def _means(values_N: np.ndarray, reach: int) -> np.ndarray:
    """Over `reach` values to either side. Over less near the ends, which else would lean to the middle."""
    at = np.arange(len(values_N))
    reach_N = np.clip(np.minimum(at, len(values_N) - 1 - at), -(-reach // 3), reach)
    low_N, high_N = np.maximum(at - reach_N, 0), np.minimum(at + reach_N + 1, len(values_N))
    sums = np.concatenate([[0.0], np.cumsum(values_N)])
    return np.asarray((sums[high_N] - sums[low_N]) / (high_N - low_N))


def thinned(series: Series, most: int = MOST_POINTS) -> Series:
    """At most so many points. Each stretch keeps its lowest and its highest, so that no peak is lost."""
    if len(series) <= most:
        return series
    kept = [0, len(series) - 1]
    for stretch in np.array_split(np.arange(1, len(series) - 1), most // 2 - 1):
        values = series.values_N[stretch]
        kept += [int(stretch[values.argmin()]), int(stretch[values.argmax()])]
    kept_N = np.unique(kept)
    return Series(series.steps_N[kept_N], series.values_N[kept_N])


def spread(count: int, most: int) -> np.ndarray:
    """Indexes of at most so many of `count` things, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
