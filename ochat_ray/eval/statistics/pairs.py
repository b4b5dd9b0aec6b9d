"""Two answers side by side: evidence calibration, position calibration, conflicts, entropy, and the figures.

Methods of Wang et al. 2023 (FairEval, arXiv 2305.17926). Evidence calibration (EC) is the mean of several
samples of the judge, balanced position calibration (BPC) the mean over both orders of the answers.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics.bootstrap import Interval, Resampled

Rule = Literal["mean", "agree"]
"""How the orders of a question become one outcome: `mean`, the larger of the two mean scores (OpenChat,
FairEval); `agree`, the winner if both orders name it, else a tie, and nothing if a reply of either is not
understood (MT-bench)."""
OUTCOMES = {1.0: "win", 0.5: "tie", 0.0: "loss"}
HUMAN_SHARE = 0.2  # FairEval: the fifth of the questions with the greatest entropy is shown to people


class Pair(NamedTuple):
    """A question's judgments made one. Scores are means over the directions that could be understood."""

    question: str
    category: str
    turn: int
    value: float
    against: float
    outcome: float
    """1 win, 0.5 tie, 0 loss of the model."""
    model_first: float | None
    """The outcome in the order that shows the model first; None where no reply of it is understood."""
    baseline_first: float | None
    bpde: float
    """Balanced position diversity entropy, nats: how far the judge is from being of one mind."""
    first_named: int
    """Replies that name the answer shown first, of `named` that name one at all."""
    named: int

    @property
    def conflict(self) -> bool | None:
        """Whether the orders name different winners; None where one of them is missing."""
        if self.model_first is None or self.baseline_first is None:
            return None
        return self.model_first != self.baseline_first


@dataclass(frozen=True)
class Side:
    """What one order of the answers says, percent."""

    win_rate_adjusted: float
    percent_of_baseline: float | None
    """None for verdicts, and where the baseline has no score above 0."""


@dataclass(frozen=True)
class Counts:
    """Questions won, tied and lost."""

    wins: int
    ties: int
    losses: int

    @property
    def win_rate_adjusted(self) -> float:
        """(wins + ties / 2) / all, percent; NaN for none."""
        total = self.wins + self.ties + self.losses
        return 100 * (self.wins + self.ties / 2) / total if total else math.nan


@dataclass(frozen=True)
class PairFigures:
    """A model against a baseline before one judge. Rates are percent, with 95 % intervals over questions."""

    model: str
    baseline: str
    judge: str
    rule: Rule
    questions: int
    """With at least one reply that is understood (with the rule `agree`: one in each order)."""
    judgments: int
    unparsed: int
    counts: Counts
    win_rate_adjusted: Interval
    percent_of_baseline: Interval | None
    """100 x the sum of the model's mean scores / the baseline's; None for verdicts, which have no scores."""
    model_first: Side | None
    baseline_first: Side | None
    conflicts: int
    conflict_rate: Interval | None
    """Of questions judged in both orders; None where there are none."""
    first_preferred: Interval | None
    """Of judgments that name a winner, those that name the answer shown first: 50 without bias."""
    bpde: float
    by_category: dict[str, Counts]


class Sides(NamedTuple):
    """Who is compared, and who compares."""

    model: str
    baseline: str
    judge: str


def sides_of(judgments: Sequence[Judgment]) -> Sides:
    """Of all these judgments. Raises DataError unless they are of one model, baseline and judge."""
    names = {(j.model, j.baseline, j.judge) for j in judgments}
    if len(names) != 1:
        raise DataError(f"figures are of one model, baseline and judge, found {sorted(map(str, names))}")
    [(model, baseline, judge)] = names
    return Sides(model, str(baseline), judge)


def scored(judgments: Iterable[Judgment]) -> bool:
    """Whether the judge gave scores; else verdicts, or shares between, which add up to 1."""
    return not all(j.value is None or (j.against is not None and j.value + j.against == 1) for j in judgments)


def outcome(value: float, against: float) -> float:
    """1 for a win, 0 for a loss; a tie, 0.5, on equality only."""
    return 0.5 if value == against else float(value > against)


def rule_for(judgments: Sequence[Judgment]) -> Rule:
    """How both orders usually make one outcome: verdicts must agree, scores and shares are averaged."""
    both = len({j.swapped for j in judgments}) == 2
    verdicts = all(j.value in (None, 0, 0.5, 1) and j.against in (None, 0, 0.5, 1) for j in judgments)
    return "agree" if both and verdicts else "mean"


def pairs(judgments: Iterable[Judgment], rule: Rule = "mean") -> list[Pair]:
    """One row a question and turn, in the order of the judgments; questions that nothing can be said of are
    left out.

    Raises DataError for judgments of single answers.
    """
    groups: dict[tuple[str, int], list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        if judgment.baseline is None:
            raise DataError(
                f"question {judgment.question}: a grade of a single answer has no baseline to win against"
            )
        groups[judgment.question, judgment.turn].append(judgment)
    found = (_pair(group, rule) for group in groups.values())
    return [pair for pair in found if pair is not None]


def _pair(group: Sequence[Judgment], rule: Rule) -> Pair | None:
    orders = [[j for j in group if j.swapped is swapped] for swapped in (False, True)]
    means = [_mean(order) for order in orders]
    if rule == "agree" and any(order and mean is None for order, mean in zip(orders, means, strict=True)):
        return None  # FastChat drops what it cannot read in one of the orders
    known = [mean for mean in means if mean is not None]
    if not known:
        return None
    sides = [None if mean is None else outcome(*mean) for mean in means]
    value, against = (sum(part) / len(known) for part in zip(*known, strict=True))
    result = outcome(value, against)
    if rule == "agree" and len(set(sides) - {None}) > 1:
        result = 0.5
    said = [
        (outcome(j.value, j.against), j.swapped)
        for j in group
        if j.value is not None and j.against is not None
    ]
    return Pair(
        question=group[0].question,
        category=group[0].category,
        turn=group[0].turn,
        value=value,
        against=against,
        outcome=result,
        model_first=sides[0],
        baseline_first=sides[1],
        bpde=bpde([won for won, _ in said]),
        first_named=sum(won == float(not swapped) for won, swapped in said),
        named=sum(won != 0.5 for won, _ in said),
    )


def _mean(order: Sequence[Judgment]) -> tuple[float, float] | None:
    scores = [(j.value, j.against) for j in order if j.value is not None and j.against is not None]
    if not scores:
        return None
    return sum(v for v, _ in scores) / len(scores), sum(a for _, a in scores) / len(scores)


def bpde(outcomes: Sequence[float]) -> float:
    """-sum p log p over the shares of wins, ties and losses, nats; 0 for one mind or none."""
    total = len(outcomes)
    return sum(-count / total * math.log(count / total) for count in Counter(outcomes).values())


def for_people(rows: Sequence[Pair], share: float = HUMAN_SHARE) -> list[Pair]:
    """The questions for people to judge: the share of greatest entropy, greatest first, none of one mind."""
    doubtful = sorted((row for row in rows if row.bpde > 0), key=lambda row: -row.bpde)
    return doubtful[: math.ceil(share * len(rows))]


def pair_figures(judgments: Sequence[Judgment], rule: Rule = "mean") -> PairFigures:
    """All figures of one model, baseline and judge. Raises DataError where there is nothing to count."""
    model, baseline, judge = sides_of(judgments)
    rows = pairs(judgments, rule)
    has_scores = scored(judgments)
    both = [row for row in rows if row.conflict is not None]
    drawn = _by_question(
        rows,
        lambda r: (
            r.value,
            r.against,
            r.outcome,
            1,
            bool(r.conflict),
            r.conflict is not None,
            r.first_named,
            r.named,
        ),
    )

    def rate(top: int, bottom: int) -> Callable[[Any], Any]:
        return lambda means: 100 * means[..., top] / means[..., bottom]

    return PairFigures(
        model=model,
        baseline=baseline,
        judge=judge,
        rule=rule,
        questions=len(rows),
        judgments=len(judgments),
        unparsed=sum(j.value is None for j in judgments),
        counts=count(rows),
        win_rate_adjusted=drawn.interval(rate(2, 3)),
        percent_of_baseline=drawn.interval(rate(0, 1)) if has_scores else None,
        model_first=_side(judgments, False, has_scores),
        baseline_first=_side(judgments, True, has_scores),
        conflicts=sum(bool(row.conflict) for row in rows),
        conflict_rate=drawn.interval(rate(4, 5)) if both else None,
        first_preferred=drawn.interval(rate(6, 7)) if any(row.named for row in rows) else None,
        bpde=sum(row.bpde for row in rows) / len(rows),
        by_category={
            name: count(r for r in rows if r.category == name) for name in sorted({r.category for r in rows})
        },
    )


def win_rate(rows: Sequence[Pair]) -> Interval:
    """(wins + ties / 2) / all, percent."""
    drawn = _by_question(rows, lambda row: (row.outcome, 1))
    return drawn.interval(lambda means: 100 * means[..., 0] / means[..., 1])


def _by_question(rows: Iterable[Pair], columns: Callable[[Pair], tuple[float, ...]]) -> Resampled:
    """Sums over the turns of each question, which are one draw."""
    sums: dict[str, NDArray[np.float64]] = {}
    for row in rows:
        sums[row.question] = sums.get(row.question, np.zeros(1)) + np.array(columns(row), float)
    return Resampled(np.array(list(sums.values())))


def count(rows: Iterable[Pair]) -> Counts:
    """Wins, ties and losses."""
    found = Counter(row.outcome for row in rows)
    return Counts(found[1.0], found[0.5], found[0.0])


def _side(judgments: Sequence[Judgment], swapped: bool, has_scores: bool) -> Side | None:
    rows = pairs([j for j in judgments if j.swapped is swapped])
    if not rows:
        return None
    percent = None
    if has_scores and (against := sum(row.against for row in rows)):
        percent = 100 * sum(row.value for row in rows) / against
    return Side(count(rows).win_rate_adjusted, percent)
