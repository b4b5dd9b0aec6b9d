"""Which model is the best, by one figure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics.bradley_terry import ratings
from ochat_ray.eval.statistics.grades import grade_figures
from ochat_ray.eval.statistics.pairs import Rule, pair_figures, rule_for

Name = Literal["grade", "win_rate", "percent", "rating"]


class Ranked(NamedTuple):
    """A model and its figure, the mean over judges."""

    model: str
    value: float


def ranking(judgments: Sequence[Judgment], figure: Name, rule: Rule | None) -> list[Ranked]:
    """The models of judgments, the best first: by their mean grade, win rate or percentage against one
    baseline, or Bradley-Terry rating over all pairs. A model of which a judge said nothing that could be
    understood, or which has no such figure, is left out. Without a rule for both orders it is the usual one.

    Raises DataError where no model is left.
    """
    found: dict[str, list[float]] = defaultdict(list)
    judgments = [one for one in judgments if (one.baseline is None) is (figure == "grade")]
    if figure == "rating":
        for part in _split(judgments, lambda one: (one.judge,)):
            for row in ratings(part):
                found[row.model].append(row.rating)
    else:
        for part in _split(judgments, lambda one: (one.judge, one.model)):
            if any(one.value is not None for one in part):
                found[part[0].model].append(_figure(part, figure, rule))
    judges = len({one.judge for one in judgments})
    rows = [Ranked(model, fmean(values)) for model, values in found.items() if len(values) == judges]
    rows = [row for row in rows if not math.isnan(row.value)]
    if not rows:
        raise DataError(f"no model has a {figure}; look at the judges' replies in judgments.jsonl")
    return sorted(rows, key=lambda row: -row.value)


def _figure(judgments: Sequence[Judgment], figure: Name, rule: Rule | None) -> float:
    if figure == "grade":
        return grade_figures(judgments).average.value
    figures = pair_figures(judgments, rule or rule_for(judgments))
    if figure == "win_rate":
        return figures.win_rate_adjusted.value
    return figures.percent_of_baseline.value if figures.percent_of_baseline else math.nan


def _split(judgments: Sequence[Judgment], key: Callable[[Judgment], tuple[str, ...]]) -> list[list[Judgment]]:
    parts: dict[tuple[str, ...], list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        parts[key(judgment)].append(judgment)
    return list(parts.values())
