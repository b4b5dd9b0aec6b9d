"""Places of marks in percent of their drawing, and the words beside them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ochat_ray.eval.report.schema import Figure

STEPS = 5  # shades of the heat map on either side of even


@dataclass(frozen=True)
class Axis:
    """A range with a line at `mark`, the value of being even."""

    low: float
    high: float
    mark: float

    def at(self, value: float) -> float:
        """Percent of the width."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0), 1), 2)


PERCENT = Axis(0, 100, 50)


@dataclass(frozen=True)
class Whisker:
    """A figure in words and as a dot on its interval, in percent of the width."""

    value: str
    interval: str
    at: float | None
    low: float | None
    high: float | None
    mark: float


@dataclass(frozen=True)
class Cell:
    """A cell of the heat map: how it is shaded, from -STEPS (lost) over 0 (even) to STEPS (won)."""

    text: str
    title: str
    shade: int


def words(value: float | None, digits: int = 1) -> str:
    """A number, or a dash where there is none."""
    return "\u2013" if value is None else f"{value:,.{digits}f}"


def axis_of(figures: Iterable[Figure | None], mark: float, step: float) -> Axis:
    """The range of figures, whole steps around them and the mark."""
    ends = [end for one in figures if one for end in (one.low, one.value, one.high) if end is not None]
    low = math.floor(min([*ends, mark]) / step) * step
    high = math.ceil(max([*ends, mark]) / step) * step
    return Axis(low, max(high, low + step), mark)


def whisker(figure: Figure, axis: Axis, digits: int = 1) -> Whisker:
    """A figure on an axis; an interval with one bound only is open to the other side."""
    low, high = figure.low, figure.high
    known = low is not None or high is not None
    return Whisker(
        value=words(figure.value, digits),
        interval=f"{words(low, digits)} to {words(high, digits)}" if known else "",
        at=None if figure.value is None else axis.at(figure.value),
        low=axis.at(axis.low if low is None else low) if known else None,
        high=axis.at(axis.high if high is None else high) if known else None,
        mark=axis.at(axis.mark),
    )


def shade(value: float | None, low: float, even: float, high: float) -> int:
    """How far a value is from even to either end, in steps."""
    if value is None:
        return 0
    reach = (high - even) if value >= even else (even - low)
    return max(-STEPS, min(STEPS, round(STEPS * (value - even) / reach)))
