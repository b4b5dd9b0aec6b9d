"""Whether longer answers do better: outcomes against differences of lengths. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ochat_ray.eval.report.schema import PairGroup, PairRow

MOST_POINTS = 600
"""Dots of one plot; of more questions an even part is drawn."""
BINS = 5
FEWEST_PER_BIN = 4


@dataclass(frozen=True)
class LengthPlot:
    """Outcomes against differences of lengths, as paths in a square of 1000 x 1000, up is better."""

    model: str
    dots: str
    trend: str
    reach: int
    """Characters at either end."""
    top: str
    bottom: str
    shown: int
    of: int
    longer: str
    shorter: str


def length_plot(group: PairGroup) -> LengthPlot | None:
    """None where no lengths are known."""
    known = sorted(
        (
            (row.characters - row.baseline_characters, row)
            for row in group.rows
            if row.characters is not None and row.baseline_characters is not None
        ),
        key=lambda one: one[0],
    )
    if not known:
        return None
    sizes = sorted(abs(difference) for difference, _ in known)
    reach = _round_up(max(1, sizes[min(len(sizes) - 1, int(0.98 * len(sizes)))]))
    most = math.ceil(max([1.0, *(abs(row.value - row.against) for _, row in known)])) if group.scored else 1
    places = [
        (500 + 500 * max(-1, min(1, difference / reach)), 500 - 470 * _better(row, group.scored) / most)
        for difference, row in known
    ]
    drawn = places[:: math.ceil(len(places) / MOST_POINTS)]
    return LengthPlot(
        model=group.model,
        dots="".join(
            f"M{x:.0f} {y if group.scored else y + _spread(at):.0f}h.1" for at, (x, y) in enumerate(drawn)
        ),
        trend=_trend(places),
        reach=reach,
        top=f"+{most} points" if group.scored else "won",
        bottom=f"\u2212{most} points" if group.scored else "lost",
        shown=len(drawn),
        of=len(known),
        longer=_won([row for difference, row in known if difference > 0]),
        shorter=_won([row for difference, row in known if difference < 0]),
    )


def _better(row: PairRow, scored: bool) -> float:
    return row.value - row.against if scored else 2 * row.outcome - 1


def _spread(at: int) -> float:
    """Verdicts have three values only: dots of one are spread over a band, always in the same way."""
    return 60 * ((at * 0.6180339887) % 1 - 0.5)


def _trend(places: Sequence[tuple[float, float]]) -> str:
    """A line through the means of equal parts of the questions, ordered by difference of lengths."""
    bins = min(BINS, len(places) // FEWEST_PER_BIN)
    if bins < 2:
        return ""
    parts = [places[len(places) * n // bins : len(places) * (n + 1) // bins] for n in range(bins)]
    means = [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
    return "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in means)


def _won(rows: Sequence[PairRow]) -> str:
    if not rows:
        return "none"
    return f"{100 * sum(row.outcome for row in rows) / len(rows):.0f} % of {len(rows):,}"


def _round_up(value: int) -> int:
    """To two leading digits."""
    unit: int = 10 ** max(0, len(str(value)) - 2)
    return math.ceil(value / unit) * unit
