"""The figures of one model before one judge, as a report holds them. Pure."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Answer, Judgment
from ochat_ray.eval.report.calibration import calibration
from ochat_ray.eval.report.schema import Bias, Figure, GradeGroup, GradeRow, PairGroup, PairRow, Tally, finite
from ochat_ray.eval.statistics.bootstrap import mean_interval
from ochat_ray.eval.statistics.grades import grade_figures
from ochat_ray.eval.statistics.length_control import length_controlled_win_rate
from ochat_ray.eval.statistics.pairs import (
    Pair,
    PairFigures,
    Rule,
    for_people,
    pair_figures,
    pairs,
    rule_for,
    scored,
)

Answers = Mapping[tuple[str, str], Answer]
"""By model and question."""

ONE_SIDED = 0.9
"""Share of answers that are longer, or shorter, from which a length-controlled rate is an extrapolation."""


def pair_group(judgments: Sequence[Judgment], rule: Rule | None, answers: Answers) -> PairGroup | None:
    """Of one model, baseline and judge; None where nothing can be said.

    Without a rule it is the usual one.
    """
    has_scores = scored(judgments)
    rule = rule or rule_for(judgments)
    found = pairs(judgments, rule)
    if not found:
        return None
    figures = pair_figures(judgments, rule)
    rows = tuple(_row(pair, figures, answers) for pair in found)
    soft = not has_scores and any(j.value not in (None, 0, 0.5, 1) for j in judgments)
    return PairGroup(
        model=figures.model,
        baseline=figures.baseline,
        judge=figures.judge,
        rule=rule,
        scored=has_scores,
        questions=figures.questions,
        judgments=figures.judgments,
        unparsed=figures.unparsed,
        tally=Tally.of(figures.counts),
        win_rate=Figure.of(figures.win_rate_adjusted),
        percent=Figure.of(figures.percent_of_baseline) if figures.percent_of_baseline else None,
        preference=Figure.of(mean_interval(np.array([p.value for p in found]), 100)) if soft else None,
        length_controlled=_length_controlled(judgments, figures, rows, answers),
        bias=_bias(figures),
        calibration=calibration(judgments, rule),
        by_category={name: Tally.of(counts) for name, counts in figures.by_category.items()},
        rows=rows,
        for_people=tuple(_row(pair, figures, answers) for pair in for_people(found)),
    )


def grade_group(judgments: Sequence[Judgment]) -> GradeGroup | None:
    """Of one model and judge; None where no grade was understood."""
    grades: dict[tuple[str, str], list[float]] = defaultdict(list)
    for judgment in judgments:
        if judgment.value is not None:
            grades[judgment.question, judgment.category].append(judgment.value)
    if not grades:
        return None
    figures = grade_figures(judgments)
    return GradeGroup(
        model=figures.model,
        judge=figures.judge,
        questions=figures.questions,
        judgments=figures.judgments,
        unparsed=figures.unparsed,
        average=Figure.of(figures.average),
        by_turn={turn: Figure.of(one) for turn, one in figures.by_turn.items()},
        by_category={name: Figure.of(one) for name, one in figures.by_category.items()},
        rows=tuple(
            GradeRow(question=question, category=category, grade=fmean(values))
            for (question, category), values in grades.items()
        ),
    )


def _bias(figures: PairFigures) -> Bias:
    model_first, baseline_first = figures.model_first, figures.baseline_first
    return Bias(
        model_first=finite(model_first.win_rate_adjusted) if model_first else None,
        baseline_first=finite(baseline_first.win_rate_adjusted) if baseline_first else None,
        conflicts=figures.conflicts,
        conflict_rate=Figure.of(figures.conflict_rate) if figures.conflict_rate else None,
        first_preferred=Figure.of(figures.first_preferred) if figures.first_preferred else None,
        bpde=abs(figures.bpde),
    )


def _length_controlled(
    judgments: Sequence[Judgment], figures: PairFigures, rows: Sequence[PairRow], answers: Answers
) -> Figure | None:
    known = [(row.characters, row.baseline_characters) for row in rows]
    lengths = [(own, other) for own, other in known if own is not None and other is not None]
    longer = sum(own > other for own, other in lengths)
    shorter = sum(own < other for own, other in lengths)
    if max(longer, shorter) > ONE_SIDED * len(lengths):
        return None  # nobody can tell what the model's merit is, and what its answers' length
    own, baseline = (
        {question: answer for (model, question), answer in answers.items() if model == name}
        for name in (figures.model, figures.baseline)
    )
    with warnings.catch_warnings():
        # Of draws that hardly tell length from model, as where all answers are longer. A hundred times the
        # iterations change none of these figures by 0.1; nothing is lost but the noise.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            found = length_controlled_win_rate(judgments, own, baseline, rule=figures.rule)
        except DataError:
            return None  # an answer is not known
    return Figure.of(found.win_rate)


def _row(pair: Pair, figures: PairFigures, answers: Answers) -> PairRow:
    return PairRow(
        question=pair.question,
        turn=pair.turn,
        category=pair.category,
        value=pair.value,
        against=pair.against,
        outcome=pair.outcome,
        model_first=pair.model_first,
        baseline_first=pair.baseline_first,
        bpde=abs(pair.bpde),  # of one mind is -0.0
        characters=_characters(answers.get((figures.model, pair.question)), pair.turn),
        baseline_characters=_characters(answers.get((figures.baseline, pair.question)), pair.turn),
    )


def _characters(answer: Answer | None, turn: int) -> int | None:
    """Of a turn of an answer, counted from 1."""
    return len(answer.turns[turn - 1]) if answer is not None and turn <= len(answer.turns) else None
