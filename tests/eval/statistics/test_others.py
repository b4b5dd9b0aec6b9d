"""AlpacaEval's rates, grades, agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics.agreement import agreement
from ochat_ray.eval.statistics.alpaca import win_rate
from ochat_ray.eval.statistics.grades import grade_figures


def verdicts(*values: float | None) -> list[Judgment]:
    return [Judgment(str(i), "", "m", "b", "j", value) for i, value in enumerate(values)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_rates_of_both_sides_are_the_whole(shares: list[float]) -> None:
    ours, theirs = win_rate(verdicts(*shares)), win_rate(verdicts(*(1 - share for share in shares)))
    assert ours.win_rate + theirs.win_rate == pytest.approx(100)
    assert ours.n_wins + ours.n_wins_base + ours.n_draws == ours.n_total == len(shares)


def test_alpaca_rates_by_hand() -> None:
    found = win_rate(verdicts(1, 1, 0, 0.5, None))
    assert (found.n_wins, found.n_wins_base, found.n_draws, found.n_total) == (2, 1, 1, 4)
    assert found.win_rate == found.discrete_win_rate == 62.5
    assert found.standard_error == pytest.approx(100 * np.std([1, 1, 0, 0.5], ddof=1) / 2)
    assert math.isnan(win_rate(verdicts(1)).standard_error)
    with pytest.raises(DataError, match="understood"):
        win_rate(verdicts(None))


def test_grades_by_turn_and_category() -> None:
    rows = [("a", 1, 8.0), ("a", 2, 4.0), ("b", 1, 10.0), ("b", 2, None)]
    judged = [Judgment(q, q * 2, "m", None, "j", grade, turn=turn) for q, turn, grade in rows]
    found = grade_figures(judged)
    assert found.average.value == pytest.approx(22 / 3) and found.unparsed == 1
    assert {turn: one.value for turn, one in found.by_turn.items()} == {1: 9, 2: 4}
    assert {name: one.value for name, one in found.by_category.items()} == {"aa": 6, "bb": 10}
    with pytest.raises(DataError, match="no grade"):
        grade_figures(judged[3:])


LABELS = st.lists(st.sampled_from("012"), min_size=2, max_size=30)


@given(st.data())
def test_kappa_is_the_same_from_either_side_and_1_for_equals(data: st.DataObject) -> None:
    first = data.draw(LABELS)
    second = data.draw(st.lists(st.sampled_from("012"), min_size=len(first), max_size=len(first)))
    one, other = agreement(first, second).kappa, agreement(second, first).kappa
    assert one == pytest.approx(other, nan_ok=True)
    same = agreement(first, first)
    assert same.accuracy == 1 and (
        same.kappa == pytest.approx(1) if len(set(first)) > 1 else math.isnan(same.kappa)
    )


def test_labels_nobody_gave_are_wrong_and_lengths_must_agree() -> None:
    found = agreement(["1", "2", "1"], ["1", "2", "garbage"])
    assert found.accuracy == pytest.approx(2 / 3) and found.macro_recall == 0.75
    with pytest.raises(DataError, match="3 reference labels and 2"):
        agreement(["1", "2", "1"], ["1", "2"])
