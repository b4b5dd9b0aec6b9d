"""Models that can be compared, in order, with their drawings: before one judge against one baseline. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ochat_ray.eval.report.charts import PERCENT, Axis, Cell, Whisker, axis_of, shade, whisker, words
from ochat_ray.eval.report.length_plot import LengthPlot, length_plot
from ochat_ray.eval.report.schema import Calibrated, Figure, GradeGroup, Orders, PairGroup, Tally

MOST_CATEGORIES = 24
PERCENT_STEP = 10
GRADES = Axis(1, 10, 5.5)
ORDERS: dict[Orders, str] = {
    "model_first": "model first",
    "baseline_first": "baseline first",
    "both": "both orders",
}


@dataclass(frozen=True)
class Part:
    """The figure from a part of the judgments."""

    orders: Orders
    name: str
    samples: int
    drawn: Whisker
    width: str
    """Of the interval, percentage points."""


@dataclass(frozen=True)
class Calibration:
    """A model's figure, the percentage of the baseline's score where there is one, else the win rate."""

    axis: Axis
    parts: list[Part]


@dataclass(frozen=True)
class Ranked:
    """A model of a board."""

    group: PairGroup
    win_rate: Whisker
    length_controlled: Whisker | None
    percent: Whisker | None
    plot: LengthPlot | None
    calibration: Calibration | None


@dataclass(frozen=True)
class Heat:
    """Models by categories; `left_out` categories have the fewest questions."""

    categories: list[str]
    rows: list[tuple[str, list[Cell | None]]]
    left_out: int


@dataclass(frozen=True)
class Board:
    """Models before one judge against one baseline, best first."""

    baseline: str
    judge: str
    ranked: list[Ranked]
    heat: Heat
    percent: Axis | None

    @property
    def both_orders(self) -> bool:
        """Whether any model was judged in both."""
        return any(
            None not in (one.group.bias.model_first, one.group.bias.baseline_first) for one in self.ranked
        )

    @property
    def has_length_controlled(self) -> bool:
        return any(one.length_controlled for one in self.ranked)

    @property
    def has_lengths(self) -> bool:
        return any(one.plot for one in self.ranked)

    @property
    def calibrated(self) -> list[Ranked]:
        return [one for one in self.ranked if one.calibration]


@dataclass(frozen=True)
class GradeBoard:
    """Graded models before one judge, best first."""

    judge: str
    ranked: list[tuple[GradeGroup, Whisker]]
    turns: list[int]
    heat: Heat


def boards(groups: Iterable[PairGroup]) -> list[Board]:
    """A board for every baseline and judge."""
    parts: dict[tuple[str, str], list[PairGroup]] = defaultdict(list)
    for group in groups:
        parts[group.baseline, group.judge].append(group)
    return [_board(baseline, judge, part) for (baseline, judge), part in parts.items()]


def grade_boards(groups: Iterable[GradeGroup]) -> list[GradeBoard]:
    """A board for every judge."""
    parts: dict[str, list[GradeGroup]] = defaultdict(list)
    for group in groups:
        parts[group.judge].append(group)
    return [_grade_board(judge, part) for judge, part in parts.items()]


def _board(baseline: str, judge: str, groups: list[PairGroup]) -> Board:
    groups = sorted(groups, key=lambda one: (-(one.win_rate.value or 0), one.model))
    percent = None
    if any(one.percent for one in groups):
        percent = axis_of((one.percent for one in groups), 100, PERCENT_STEP)
    return Board(
        baseline=baseline,
        judge=judge,
        ranked=[
            Ranked(
                group=one,
                win_rate=whisker(one.win_rate, PERCENT),
                length_controlled=whisker(one.length_controlled, PERCENT) if one.length_controlled else None,
                percent=whisker(one.percent, percent) if one.percent and percent else None,
                plot=length_plot(one),
                calibration=_calibration(one.calibration),
            )
            for one in groups
        ],
        heat=_heat(
            [
                (one.model, {name: _won_cell(tally) for name, tally in one.by_category.items()})
                for one in groups
            ],
            Counter({name: tally.total for one in groups for name, tally in one.by_category.items()}),
        ),
        percent=percent,
    )


def _calibration(parts: Sequence[Calibrated]) -> Calibration | None:
    if not parts:
        return None
    figures = [part.percent or part.win_rate for part in parts]
    axis = axis_of(figures, 100 if parts[0].percent else 50, PERCENT_STEP)
    drawn = [_part(part, figure, axis) for part, figure in zip(parts, figures, strict=True)]
    return Calibration(axis, drawn)


def _part(part: Calibrated, figure: Figure, axis: Axis) -> Part:
    width = None if figure.low is None or figure.high is None else figure.high - figure.low
    return Part(part.orders, ORDERS[part.orders], part.samples, whisker(figure, axis), words(width))


def _grade_board(judge: str, groups: list[GradeGroup]) -> GradeBoard:
    groups = sorted(groups, key=lambda one: (-(one.average.value or 0), one.model))
    return GradeBoard(
        judge=judge,
        ranked=[(one, whisker(one.average, GRADES, 2)) for one in groups],
        turns=sorted({turn for one in groups for turn in one.by_turn}),
        heat=_heat(
            [
                (one.model, {name: _grade_cell(figure) for name, figure in one.by_category.items()})
                for one in groups
            ],
            Counter(row.category for one in groups for row in one.rows),
        ),
    )


def _heat(rows: Sequence[tuple[str, Mapping[str, Cell]]], sizes: Counter[str]) -> Heat:
    kept = sorted(name for name, _ in sizes.most_common(MOST_CATEGORIES))
    return Heat(
        categories=kept,
        rows=[(model, [cells.get(name) for name in kept]) for model, cells in rows],
        left_out=len(sizes) - len(kept),
    )


def _won_cell(tally: Tally) -> Cell:
    counts = f"{tally.wins} won, {tally.ties} tied, {tally.losses} lost"
    return Cell(words(tally.win_rate, 0), counts, shade(tally.win_rate, 0, 50, 100))


def _grade_cell(figure: Figure) -> Cell:
    return Cell(
        words(figure.value),
        f"{words(figure.low)} to {words(figure.high)}",
        shade(figure.value, GRADES.low, GRADES.mark, GRADES.high),
    )
