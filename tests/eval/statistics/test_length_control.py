"""Win rates with the length of answers held equal."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Answer, Judgment
from ochat_ray.eval.statistics.length_control import (
    Published,
    Rows,
    Weights,
    length_controlled,
    length_controlled_win_rate,
    refit,
    rows_of,
)


def answers(model: str, lengths: dict[str, int]) -> dict[str, Answer]:
    return {question: Answer(question, model, ("x" * length,)) for question, length in lengths.items()}


def verdict(question: object, value: float | None, swapped: bool = False, turn: int = 1) -> Judgment:
    against = None if value is None else 1 - value
    return Judgment(str(question), "", "m", "b", "j", value, against, turn=turn, swapped=swapped)


class Judged:
    """A judge that likes the model by `merit` and longer answers by `vanity`, both log-odds; shares, not
    draws, so that nothing is left to chance."""

    def __init__(self, merit: float, vanity: float, longer: int, questions: int = 200) -> None:
        random = np.random.default_rng(1)
        base = {str(q): int(random.integers(500, 1500)) for q in range(questions)}
        own = {q: max(0, length + longer + int(random.normal(0, 300))) for q, length in base.items()}
        difference = np.array([base[q] - own[q] for q in base], float)
        standard = np.tanh(difference / difference.std(ddof=1))
        shares = expit(merit - vanity * standard)
        self.judgments = [verdict(q, float(share)) for q, share in zip(base, shares, strict=True)]
        self.shares = shares
        self.answers, self.baseline = answers("m", own), answers("b", base)


@pytest.mark.parametrize("merit", [-1.0, 0.0, 1.5])
def test_what_length_won_is_taken_out(merit: float) -> None:
    judged = Judged(merit, vanity=2.0, longer=600)
    found = length_controlled_win_rate(judged.judgments, judged.answers, judged.baseline)
    assert found.win_rate.value == pytest.approx(100 * expit(merit), abs=0.2)
    assert 100 * judged.shares.mean() > found.win_rate.value + 10
    assert found.weights.length == pytest.approx(-2, abs=0.05) and found.weights.difficulty == 0
    assert found.win_rate.low <= found.win_rate.value <= found.win_rate.high and found.questions == 200


def test_a_judge_that_does_not_see_length_is_left_alone() -> None:
    random = np.random.default_rng(2)
    drawn = [verdict(q, float(random.random() < 0.7)) for q in range(400)]
    rate = 100 * np.mean([one.value for one in drawn if one.value is not None])
    widths = []
    for longer in (100, 600):
        judged = Judged(0.0, 0.0, longer, questions=400)
        found = length_controlled_win_rate(drawn, judged.answers, judged.baseline).win_rate
        assert found.low < rate < found.high
        widths.append(found.high - found.low)
    # How a model whose answers are all longer does at equal length nobody knows, and the interval says so.
    assert widths[0] < 12 and widths[1] > 2 * widths[0]


def test_a_weak_preference_on_few_questions_is_not_shrunk_to_50() -> None:
    judged = Judged(0.4, 0.0, longer=0, questions=80)
    shrunk = refit(rows_of(np.array([0.0, 1.0, 0.0, 1.0, 1.0]), np.zeros(5)))
    assert length_controlled(shrunk, np.zeros(5)).win_rate == 50  # what cross-validation makes of 3 in 5
    found = length_controlled_win_rate(judged.judgments, judged.answers, judged.baseline)
    assert found.win_rate.value == pytest.approx(100 * expit(0.4), abs=0.1)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_who_wins_or_loses_everything_still_does(share: float) -> None:
    judged = Judged(0.0, 0.0, longer=100, questions=30)
    all_alike = [verdict(q, share) for q in range(30)]
    found = length_controlled_win_rate(all_alike, judged.answers, judged.baseline).win_rate
    assert list(found) == pytest.approx([100 * share] * 3, abs=0.1)


def test_answers_all_of_one_length_leave_the_win_rate() -> None:
    same = {str(q): 100 for q in range(20)}
    judged = [verdict(q, float(q < 13)) for q in range(20)]
    found = length_controlled_win_rate(judged, answers("m", same), answers("b", same))
    assert found.win_rate.value == pytest.approx(65, abs=0.1)
    assert found.weights.length == 0
    one = length_controlled_win_rate(judged[:1], answers("m", same), answers("b", same))
    assert one.win_rate.value == pytest.approx(100, abs=0.1)


def test_orders_samples_scores_and_turns_are_made_one_row_a_question_and_turn() -> None:
    lengths = {str(q): 100 for q in range(8)}
    own, base = answers("m", lengths), answers("b", lengths)
    both = [verdict(q, value, swapped) for q in range(8) for swapped, value in ((False, 1.0), (True, 0.5))]
    mean = length_controlled_win_rate(both, own, base)
    assert mean.win_rate.value == pytest.approx(75, abs=0.1)
    agreed = length_controlled_win_rate(both, own, base, rule="agree")
    assert agreed.win_rate.value == pytest.approx(50, abs=0.1)
    scores = [replace(one, value=9.0, against=float(8 + 2 * (int(one.question) % 2))) for one in both]
    assert length_controlled_win_rate(scores, own, base).win_rate.value == pytest.approx(50, abs=0.1)
    second = [replace(one, turn=2) for one in both]
    with pytest.raises(DataError, match="question 0, turn 2: no answer of b"):
        length_controlled_win_rate([*both, *second], own, base)
    longer = {q: replace(one, turns=(*one.turns, "y" * 50)) for q, one in base.items()}
    own = {q: replace(one, turns=(*one.turns, "y" * 70)) for q, one in own.items()}
    assert length_controlled_win_rate([*both, *second], own, longer).questions == 8


def published(random: np.random.Generator, questions: int) -> Published:
    gamed = [random.random(40), random.normal(0, 2, 40), random.normal(0, 1, 40)]
    return Published({str(q): float(random.normal()) for q in range(questions)}, Rows(*gamed))


def test_the_published_difficulties_are_a_term_and_gamed_rows_pull_it() -> None:
    random = np.random.default_rng(3)
    judged = Judged(0.5, 1.0, longer=200, questions=100)
    known = published(random, 100)
    difficulty = np.array(list(known.difficulty.values()))
    logits = np.log(judged.shares / (1 - judged.shares)) + difficulty
    shares = [verdict(q, float(expit(logit))) for q, logit in enumerate(logits)]
    found = length_controlled_win_rate(shares, judged.answers, judged.baseline, published=known)
    assert found.weights.difficulty == pytest.approx(1, abs=0.2)
    assert found.win_rate.value == pytest.approx(100 * expit(0.5 + difficulty).mean(), abs=2)
    difference = np.array(
        [len(judged.baseline[q].turns[0]) - len(judged.answers[q].turns[0]) for q in judged.baseline], float
    )
    rows = rows_of(expit(logits), difference, difficulty)
    assert found.weights == refit(rows, known.gamed)
    assert length_controlled(found.weights, difficulty).win_rate == found.win_rate.value
    heavy = Rows(*(np.concatenate([column] * 50) for column in known.gamed))
    assert abs(refit(rows, heavy).difficulty) < abs(found.weights.difficulty)


def test_what_is_missing_is_named() -> None:
    judged = Judged(0.0, 0.0, 0, questions=10)
    given = (judged.judgments, judged.answers, judged.baseline)
    with pytest.raises(DataError, match="question 0, turn 1: no answer of m"):
        length_controlled_win_rate(judged.judgments, {}, judged.baseline)
    with pytest.raises(DataError, match="question 7: no difficulty is published"):
        known = published(np.random.default_rng(1), 7)
        length_controlled_win_rate(*given, published=known)
    with pytest.raises(DataError, match="understood"):
        length_controlled_win_rate([verdict(0, None)], judged.answers, judged.baseline)
    with pytest.raises(DataError, match="one model"):
        other = replace(judged.judgments[0], model="other")
        length_controlled_win_rate([*judged.judgments, other], judged.answers, judged.baseline)
    with pytest.raises(DataError, match=r"4 rows.*at least 5"):
        refit(rows_of(np.full(4, 0.5), np.arange(4.0)))


def test_weights_without_length_leave_difficulty_and_model() -> None:
    assert length_controlled(Weights(5, 0, 0), np.zeros(3)).win_rate == 50
    found = length_controlled(Weights(5, 1, math.log(3)), np.zeros(3))
    assert found.win_rate == pytest.approx(75) and found.standard_error == 0
    assert math.isnan(length_controlled(Weights(5, 1, 0), np.zeros(1)).standard_error)
