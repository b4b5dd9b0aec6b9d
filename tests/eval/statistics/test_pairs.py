"""Calibration of pairwise judgments."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics.pairs import Counts, bpde, for_people, pair_figures, pairs


def judgment(
    question: object, value: float | None, against: float | None, *, swapped: bool = False
) -> Judgment:
    return Judgment(str(question), "generic", "m", "b", "j", value, against, swapped=swapped)


SCORE = st.integers(1, 10).map(float)
PAIR = st.tuples(SCORE, SCORE)


@settings(deadline=None)
@given(st.lists(PAIR, min_size=1, max_size=12), st.sampled_from([0.5, 1, 3]))
def test_both_orders_cancel_a_bias_for_the_first(truth: list[tuple[float, float]], bias: float) -> None:
    judged = [judgment(q, v + bias, a) for q, (v, a) in enumerate(truth)]
    judged += [judgment(q, v, a + bias, swapped=True) for q, (v, a) in enumerate(truth)]
    found = pair_figures(judged)
    honest = pair_figures([judgment(q, v, a) for q, (v, a) in enumerate(truth)])
    assert found.counts == honest.counts
    assert found.win_rate_adjusted == honest.win_rate_adjusted
    assert found.model_first is not None and found.baseline_first is not None
    rate = found.counts.win_rate_adjusted
    assert found.model_first.win_rate_adjusted >= rate >= found.baseline_first.win_rate_adjusted


@settings(deadline=None)
@given(st.lists(st.tuples(PAIR, PAIR), min_size=1, max_size=12))
def test_what_the_model_wins_the_baseline_loses(rows: list[tuple[tuple[float, float], ...]]) -> None:
    judged = [
        judgment(q, *pair, swapped=bool(order))
        for q, row in enumerate(rows)
        for order, pair in enumerate(row)
    ]
    turned = [replace(j, value=j.against, against=j.value, swapped=not j.swapped) for j in judged]
    found, other = pair_figures(judged), pair_figures(turned)
    assert found.counts == Counts(other.counts.losses, other.counts.ties, other.counts.wins)
    assert found.conflicts == other.conflicts and math.isclose(found.bpde, other.bpde)
    assert found.percent_of_baseline and other.percent_of_baseline
    assert math.isclose(found.percent_of_baseline.value * other.percent_of_baseline.value, 10_000)


def test_samples_are_averaged_before_the_orders_are_compared() -> None:
    rows = pairs([judgment(1, 9, 6), judgment(1, 6, 8), judgment(1, 5, 9, swapped=True)])
    assert [(row.value, row.against) for row in rows] == [((7.5 + 5) / 2, (7 + 9) / 2)]
    assert (rows[0].model_first, rows[0].baseline_first, rows[0].outcome) == (1, 0, 0) and rows[0].conflict


def test_a_reply_that_is_not_understood_is_no_zero() -> None:
    found = pair_figures([judgment(1, None, None), judgment(1, 8, 4, swapped=True), judgment(2, None, None)])
    assert (found.questions, found.judgments, found.unparsed) == (1, 3, 2)
    assert found.percent_of_baseline and found.percent_of_baseline.value == 200
    assert found.conflict_rate is None and found.model_first is None


def test_verdicts_that_disagree_are_ties_and_broken_games_are_dropped() -> None:
    games = {1: (1, 0.5), 2: (1, 1), 3: (0, 0), 4: (1, 0), 5: (0.5, 0.5), 6: (1, None)}
    judged = [
        judgment(q, value, None if value is None else 1 - value, swapped=bool(order))
        for q, values in games.items()
        for order, value in enumerate(values)
    ]
    found = pair_figures(judged, "agree")
    assert found.counts == Counts(1, 3, 1) and found.questions == 5
    assert found.win_rate_adjusted.value == 50 and found.percent_of_baseline is None


def test_entropy_is_of_the_outcomes_and_picks_who_people_look_at() -> None:
    assert bpde([1, 1, 1, 1]) == bpde([]) == 0
    assert math.isclose(bpde([1, 0.5, 0]), math.log(3))
    judged = [judgment(q, 5, 4) for q in range(9)] + [judgment(9, 5, 4), judgment(9, 4, 5, swapped=True)]
    assert [row.question for row in for_people(pairs(judged))] == ["9"]


def test_a_single_grade_and_mixed_models_are_refused() -> None:
    with pytest.raises(DataError, match="no baseline"):
        pairs([replace(judgment(1, 5, None), baseline=None)])
    with pytest.raises(DataError, match="one model"):
        pair_figures([judgment(1, 5, 4), replace(judgment(1, 5, 4), model="other")])
    with pytest.raises(DataError, match="understood"):
        pair_figures([judgment(1, None, None)])
