"""Ratings are those of the games, whoever is named first, and their intervals hold what they promise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics.bradley_terry import POINTS, Rating, ratings


def game(question: object, model: str, baseline: str, value: float | None, against: float | None) -> Judgment:
    return Judgment(str(question), "", model, baseline, "judge", value, against)


def simulated(strengths: Sequence[float], games: int, seed: int, questions: int = 200) -> list[Judgment]:
    """Games of models `0`, `1`, ... of known log-strengths, drawn by the model's own probabilities."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(games):
        one, other = map(int, random.choice(len(strengths), 2, replace=False))
        won = float(random.random() < 1 / (1 + math.exp(strengths[other] - strengths[one])))
        found.append(game(random.integers(questions), str(one), str(other), won, 1 - won))
    return found


def by_model(rows: Sequence[Rating]) -> dict[str, Rating]:
    return {row.model: row for row in rows}


def test_two_models_are_as_far_apart_as_the_odds_say() -> None:
    judged = [game(q, "a", "b", float(q < 60), float(q >= 60)) for q in range(80)]
    first, second = ratings(judged)
    assert first.rating - second.rating == pytest.approx(400 * math.log10(60 / 20), abs=0.1)
    assert (first.rating + second.rating) / 2 == pytest.approx(1000)
    assert (first.model, first.games, second.games) == ("a", 80, 80)
    assert first.low < first.rating < first.high
    # The odds' standard error is sqrt(1 / wins + 1 / losses), each model has half of the difference.
    error = POINTS * math.sqrt(1 / 60 + 1 / 20) / 2
    assert first.high - first.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_strengths_are_recovered_and_covered() -> None:
    strengths = [-1.0, -0.5, 0.0, 0.4, 1.1]
    truth = {str(place): 1000 + POINTS * strength for place, strength in enumerate(strengths)}
    hits = 0
    for seed in range(12):
        for row in ratings(simulated(strengths, 2000, seed)):
            assert row.rating == pytest.approx(truth[row.model], abs=40)
            hits += row.low <= truth[row.model] <= row.high
    assert 50 <= hits <= 60


MODELS = st.sampled_from("abcd")
GAMES = st.lists(
    st.tuples(st.integers(0, 5), MODELS, MODELS, st.sampled_from([1.0, 0.5, 0.0, 0.25])).filter(
        lambda row: row[1] != row[2]
    ),
    max_size=20,
)


@settings(deadline=None)
@given(GAMES, st.randoms(use_true_random=False))
def test_neither_order_nor_who_is_the_baseline_matters(
    rows: list[tuple[int, str, str, float]], random: Random
) -> None:
    ring = [(6, "a", "b", 0.5), (6, "b", "c", 1.0), (6, "c", "d", 0.0)]
    judged = [game(q, one, other, won, 1 - won) for q, one, other, won in rows + ring]
    found = by_model(ratings(judged, resamples=20))
    random.shuffle(judged)
    turned = [
        replace(j, model=j.baseline, baseline=j.model, value=j.against, against=j.value) for j in judged
    ]
    for model, row in by_model(ratings(turned, resamples=20)).items():
        assert row.rating == pytest.approx(found[model].rating, abs=1e-3)
        assert (row.low, row.high) == pytest.approx((found[model].low, found[model].high), abs=1e-3)
        assert row.games == found[model].games


def test_ties_are_half_a_win_and_scores_are_won_by_the_greater() -> None:
    ties = [game(q, "a", "b", 0.5, 0.5) for q in range(4)]
    halves = [game(q, "a", "b", q % 2, 1 - q % 2) for q in range(4)]
    scores = [game(q, "a", "b", *((7, 7) if q < 2 else (9, 2) if q == 2 else (1, 10))) for q in range(4)]
    for judged in (ties, halves, scores):
        assert [row.rating for row in ratings(judged)] == pytest.approx([1000, 1000])


def test_the_anchor_is_rated_1000_and_differences_stay() -> None:
    judged = simulated([0.0, 0.5, 1.0], 300, 1)
    free, bound = by_model(ratings(judged)), by_model(ratings(judged, anchor="1"))
    assert bound["1"].rating == bound["1"].low == bound["1"].high == 1000
    assert bound["2"].rating - bound["0"].rating == pytest.approx(free["2"].rating - free["0"].rating)
    with pytest.raises(DataError, match=r"anchor 'x'.*there are 0, 1, 2"):
        ratings(judged, anchor="x")


def test_who_wins_everything_has_no_upper_end_and_moves_nobody() -> None:
    judged = simulated([0.0, 0.5, 1.0], 300, 1)
    champion = [game(q, "champion", str(q % 3), 1.0, 0.0) for q in range(30)]
    loser = [game(q, str(q % 3), "loser", 1.0, 0.0) for q in range(30)]
    plain, found = by_model(ratings(judged)), by_model(ratings(judged + champion + loser))
    assert found["champion"].high == math.inf and found["champion"].rating > 1500
    assert found["loser"].low == -math.inf and found["loser"].rating < 500
    for model in "012":
        assert found[model].rating == pytest.approx(plain[model].rating, abs=1)


def test_what_is_not_understood_is_no_game() -> None:
    judged = simulated([0.0, 0.5], 50, 1)
    broken = [game(q, "0", "never", None, None) for q in range(5)]
    assert ratings(judged + broken) == ratings(judged)
    with pytest.raises(DataError, match="understood"):
        ratings(broken)
    with pytest.raises(DataError, match="single answer"):
        ratings([replace(judged[0], baseline=None)])


def test_models_that_no_game_connects_are_named() -> None:
    judged = [game(1, "a", "b", 1, 0), game(1, "c", "d", 1, 0)]
    with pytest.raises(DataError, match="no game connects a, b with c, d"):
        ratings(judged)
