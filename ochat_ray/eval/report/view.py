"""A report as the page shows it. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ochat_ray.eval.report.beside import MOST_SAMPLES
from ochat_ray.eval.report.boards import Board, GradeBoard, boards, grade_boards
from ochat_ray.eval.report.charts import Axis, Whisker, axis_of, whisker, words
from ochat_ray.eval.report.schema import (
    Bill,
    Figure,
    Missing,
    PairGroup,
    PairRow,
    Published,
    Rating,
    Report,
    Said,
    SideBySide,
    Tally,
)
from ochat_ray.eval.statistics.pairs import OUTCOMES

MOST_DOUBTFUL = 30
"""Rows of the list for people on the page; eval.json has all."""
MOST_REASONS = 50
MOST_NAMED = 5
"""Of what is missing for one reason."""
RATING_STEP = 100


@dataclass(frozen=True)
class Outcome:
    """What became of an answer, e.g. `win`, `8.5 : 8` against a baseline."""

    kind: str
    scores: str
    baseline: str | None
    judge: str
    turn: int


@dataclass(frozen=True)
class Beside:
    """A question with its answers; the outcomes of each answer in their order."""

    number: int
    side: SideBySide
    outcomes: list[list[Outcome]]
    tally: Tally
    grade: str


@dataclass(frozen=True)
class PublishedRow:
    """A row of a table of published figures: theirs, or a model's of ours."""

    model: str
    figures: list[str]
    own: str
    """What ours was measured by; empty for a published one."""


@dataclass(frozen=True)
class Lacking:
    """What is missing of one name for one reason."""

    name: str
    why: str
    count: int
    what: list[str]


@dataclass(frozen=True)
class Ratings:
    """Models by rating, best first."""

    axis: Axis
    ranked: list[tuple[Rating, Whisker]]


def context(report: Report) -> dict[str, Any]:
    """All that the template is filled with."""
    made, graded = boards(report.pairs), grade_boards(report.grades)
    beside = _beside(report)
    doubtful = sorted(
        ((row, one) for one in report.pairs for row in one.for_people), key=lambda pair: -pair[0].bpde
    )
    lacking = _lacking(report.missing)
    return {
        "report": report,
        "sections": _sections(report, made, graded),
        "boards": made,
        "grade_boards": graded,
        "published": [(table, _published_rows(table, report.pairs)) for table in report.published],
        "ratings": _ratings(report.ratings),
        "beside": beside,
        "doubtful": doubtful[:MOST_DOUBTFUL],
        "doubtful_in_all": len(doubtful),
        "lacking": lacking[:MOST_REASONS],
        "reasons": len(lacking),
        "bills": _bills(report.bills),
        "samples": max((part.samples for one in report.pairs for part in one.calibration), default=1),
        "most_samples": MOST_SAMPLES,
        "numbers": {one.side.question: one.number for one in beside},
        "several_judges": len({one.judge for one in made} | {one.judge for one in graded}) > 1,
        "several_baselines": len({one.baseline for one in made}) > 1,
        "models": len(
            {one.model for groups in (report.pairs, report.grades, report.unread) for one in groups}
            | {one.baseline for one in report.pairs}
        ),
    }


def said(reply: Said) -> str:
    """What a reply of a judge says, e.g. `8 : 9`."""
    if reply.value is None:
        return "not understood"
    if reply.against is None:
        return f"grade {reply.value:g}"
    if reply.value + reply.against == 1:
        return OUTCOMES.get(reply.value, f"{100 * reply.value:.0f} % for the model")
    return f"{reply.value:g} : {reply.against:g}"


def _sections(report: Report, made: Sequence[Board], graded: Sequence[GradeBoard]) -> dict[str, str]:
    """Titles by the ids of those that have content, in order."""
    known = {
        "board": ("Leaderboard", made or graded),
        "published": ("As published", report.published),
        "ratings": ("Ratings", report.ratings),
        "outcomes": ("Wins, ties and losses", made),
        "categories": ("Categories", made or graded),
        "order": ("Order of the answers", any(one.both_orders for one in made)),
        "calibration": ("Calibration", any(one.calibrated for one in made)),
        "judges": ("Judges", report.agreements),
        "lengths": ("Lengths", report.lengths),
        "people": ("For people to judge", any(one.for_people for one in report.pairs)),
        "tasks": ("Academic tasks", report.tasks),
        "unread": ("Not understood", report.unread),
        "missing": ("Missing", report.missing),
        "bills": ("Bill", report.bills),
        "beside": ("Side by side", report.beside),
    }
    return {name: title for name, (title, content) in known.items() if content}


def _published_rows(table: Published, groups: Iterable[PairGroup]) -> list[PublishedRow]:
    """Published rows and ours by the first figure, best first."""
    rows = [
        (figures[0], PublishedRow(model, [words(figure, 2) for figure in figures], ""))
        for model, figures in table.rows.items()
    ]
    for one in groups:
        figure = one.percent if table.figure == "percent" else one.preference or one.win_rate
        if figure is not None and figure.value is not None:
            figures = [words(figure.value, 2)] + ["\u2013"] * (len(table.columns) - 1)
            rows.append(
                (figure.value, PublishedRow(one.model, figures, f"against {one.baseline}, by {one.judge}"))
            )
    return [row for _, row in sorted(rows, key=lambda one: -one[0])]


def _ratings(ratings: Sequence[Rating]) -> Ratings | None:
    if not ratings:
        return None
    figures = [Figure(value=one.rating, low=one.low, high=one.high) for one in ratings]
    axis = axis_of(figures, sum(one.rating for one in ratings) / len(ratings), RATING_STEP)
    drawn = zip(ratings, (whisker(figure, axis, 0) for figure in figures), strict=True)
    return Ratings(axis, sorted(drawn, key=lambda one: -one[0].rating))


def _lacking(missing: Iterable[Missing]) -> list[Lacking]:
    """By name and reason, the most first."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in missing:
        found[one.name, one.why].append(one.what)
    rows = [Lacking(name, why, len(what), what[:MOST_NAMED]) for (name, why), what in found.items()]
    return sorted(rows, key=lambda row: -row.count)


def _bills(bills: Sequence[Bill]) -> list[Bill]:
    """With the sum, where there are several."""
    if len(bills) < 2:
        return list(bills)
    total = Bill(
        name="All",
        replies=sum(one.replies for one in bills),
        input_tokens=sum(one.input_tokens for one in bills),
        output_tokens=sum(one.output_tokens for one in bills),
        seconds=sum(one.seconds for one in bills),
        cost=sum(one.cost for one in bills),
        priced=any(one.priced for one in bills),
    )
    return [*bills, total]


def _beside(report: Report) -> list[Beside]:
    found: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for group in report.pairs:
        for row in group.rows:
            found[row.question, group.model].append(_outcome(group, row))
    grades: dict[str, list[float]] = defaultdict(list)
    for graded in report.grades:
        for one in graded.rows:
            grades[one.question].append(one.grade)
    return [
        Beside(
            number=number,
            side=side,
            outcomes=[found.get((side.question, answer.model), []) for answer in side.answers],
            tally=_tally(
                outcome.kind
                for answer in side.answers
                for outcome in found.get((side.question, answer.model), [])
            ),
            grade=_mean_grade(grades.get(side.question, [])),
        )
        for number, side in enumerate(report.beside, 1)
    ]


def _outcome(group: PairGroup, row: PairRow) -> Outcome:
    scores = f"{round(row.value, 2):g} : {round(row.against, 2):g}" if group.scored else ""
    return Outcome(OUTCOMES[row.outcome], scores, group.baseline, group.judge, row.turn)


def _tally(kinds: Iterable[str]) -> Tally:
    counts = Counter(kinds)
    return Tally(wins=counts["win"], ties=counts["tie"], losses=counts["loss"])


def _mean_grade(grades: Sequence[float]) -> str:
    return words(sum(grades) / len(grades)) if grades else ""
