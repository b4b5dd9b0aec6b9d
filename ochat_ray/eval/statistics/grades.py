"""Grades of single answers, as MT-bench gives them: the mean over all of them, by turn and by category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics.bootstrap import Interval, Resampled

K = TypeVar("K", int, str)


@dataclass(frozen=True)
class GradeFigures:
    """A model before one judge: grades 1 to 10, with 95 % intervals over questions."""

    model: str
    judge: str
    questions: int
    judgments: int
    unparsed: int
    average: Interval
    by_turn: dict[int, Interval]
    by_category: dict[str, Interval]


def grade_figures(judgments: Sequence[Judgment]) -> GradeFigures:
    """The figures of one model and judge; replies that are not understood are dropped (Zheng et al. 2023).

    Raises DataError where none is left, or for several models or judges.
    """
    names = {(j.model, j.judge) for j in judgments}
    if len(names) != 1:
        raise DataError(f"figures are of one model and judge, found {sorted(map(str, names))}")
    [(model, judge)] = names
    graded = [j for j in judgments if j.value is not None]
    return GradeFigures(
        model=model,
        judge=judge,
        questions=len({j.question for j in graded}),
        judgments=len(judgments),
        unparsed=len(judgments) - len(graded),
        average=_mean(graded),
        by_turn=_split(graded, lambda j: j.turn),
        by_category=_split(graded, lambda j: j.category),
    )


def _split(graded: Sequence[Judgment], key: Callable[[Judgment], K]) -> dict[K, Interval]:
    parts: dict[K, list[Judgment]] = defaultdict(list)
    for judgment in graded:
        parts[key(judgment)].append(judgment)
    return {name: _mean(parts[name]) for name in sorted(parts)}


def _mean(graded: Sequence[Judgment]) -> Interval:
    """Of all grades: a question with more of them weighs more, as in MT-bench's own mean."""
    sums: dict[str, list[float]] = defaultdict(list)
    for judgment in graded:
        assert judgment.value is not None
        sums[judgment.question].append(judgment.value)
    if not sums:
        raise DataError("no grade could be understood; look at the judge's replies")
    columns = np.array([[sum(grades), len(grades)] for grades in sums.values()], float)
    return Resampled(columns).interval(lambda means: means[..., 0] / means[..., 1])
