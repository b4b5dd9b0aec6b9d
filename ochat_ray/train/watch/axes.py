"""Where values lie in a chart, in units of its plot, and what its axes say. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ochat_ray.train.watch.curves import Series

SIZE = 1000
"""Width and height of a plot in its own units."""
OUTLIERS = 0.995
"""Values above this share of all may be cut off, so that a few do not flatten the rest."""


@dataclass(frozen=True)
class Tick:
    """A mark at `at` percent of an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` along an axis."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Percent of the way; what is outside is at the end."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def ticks(self, most: int, *, whole: bool = False) -> list[Tick]:
        """At most so many and one round values; a scale may begin and end between two."""
        step = _round_step((self.high - self.low) / most, whole=whole)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [
            Tick(self.place(index * step), number(index * step, step)) for index in range(first, last + 1)
        ]


def of_steps(last: int) -> Scale:
    """From the first step to the last of the run."""
    return Scale(1, max(last, 2))


def of_values(lines: list[Series], *, zero: bool = False, beside: float | None = None) -> Scale:
    """Room for all lines, but for rare peaks; from zero, and up to a value that lies `beside`, if wanted."""
    values = np.concatenate([line.values_N for line in lines])
    low, high = float(values.min()), float(values.max())
    usual = float(np.quantile(values, OUTLIERS))
    if high - low > 1.5 * (usual - low) > 0:
        high = usual + 0.1 * (usual - low)
    if beside is not None and beside < 2 * high:
        high = max(high, beside)
    low = 0.0 if zero else low
    room = high - low or abs(high) or 1.0
    return Scale(low if zero else low - 0.04 * room, high + 0.06 * room)


def path(line: Series, across: Scale, up: Scale) -> str:
    """The line as an SVG path in a plot of SIZE by SIZE."""
    x_N = (line.steps_N - across.low) / (across.high - across.low) * SIZE
    y_N = SIZE - np.clip((line.values_N - up.low) / (up.high - up.low), 0, 1) * SIZE
    points = [f"{x:.5g} {y:.4g}" for x, y in zip(x_N.tolist(), y_N.tolist(), strict=True)]
    return "M" + "L".join(points)


def number(value: float, step: float) -> str:
    """A value to as many digits as steps of an axis need: 12k, 0.25, 2e-05."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.3g}"
    if abs(value) >= 10_000:
        return compact(value)
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def compact(value: float) -> str:
    """A number in few characters, e.g. 12k, 1.5M."""
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _round_step(least: float, *, whole: bool) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * 0.999)
    return max(1.0, float(math.ceil(step))) if whole else step
