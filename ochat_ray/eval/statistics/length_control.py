"""AlpacaEval 2's length-controlled win rate (Dubois et al. 2024, github.com/tatsu-lab/alpaca_eval).

A logistic regression of the model's share of the preference, with no intercept and three terms: the length,
tanh of the standardised difference of characters (baseline's minus model's); the instruction's difficulty;
and a constant, the model. The win rate is what it foretells with the term of the length at 0, for answers as
long as the baseline's. N rows, Q questions, F terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Answer, Judgment
from ochat_ray.eval.statistics.bootstrap import Interval
from ochat_ray.eval.statistics.pairs import Pair, Rule, pairs, scored, sides_of

Array = NDArray[np.float64]
STRENGTHS = np.logspace(-4, 4, 10)  # scikit-learn's C: the greater, the less is shrunk
FOLDS = 5
GAMED_WEIGHT = 0.2 / 2  # the outputs of two gamed models share 0.2
SEED = 123
# Weight of a label that no row has: liblinear takes the only one it finds for the positive one.
ABSENT = 1e-9
RESAMPLES = 200


class Weights(NamedTuple):
    """What the regression gives to the difference of lengths, the instruction's difficulty, and the model."""

    length: float
    difficulty: float
    model: float


class Foretold(NamedTuple):
    """Percent. The standard error is alpaca_eval's `lc_standard_error`: of the mean over instructions of
    what is foretold, which differs by difficulty only; how sure the weights are is not in it."""

    win_rate: float
    standard_error: float


class Rows(NamedTuple):
    """What the regression is fitted to: shares 0 to 1, standardised differences of length, difficulties."""

    share_N: Array
    length_N: Array
    difficulty_N: Array


class Published(NamedTuple):
    """What AlpacaEval 2 publishes beside its 805 instructions."""

    difficulty: Mapping[str, float]
    """By question."""
    gamed: Rows
    """Of the baseline's own outputs made concise and verbose, which keep the terms apart."""


class LengthControlled(NamedTuple):
    """A model's length-controlled win rate, percent, with its 95 % interval over questions."""

    win_rate: Interval
    weights: Weights
    questions: int


def length_controlled(weights: Weights, difficulty_N: Array) -> Foretold:
    """The win rate that the regression foretells for answers as long as the baseline's."""
    share_N = _foretold(weights, difficulty_N)
    error = share_N.std(ddof=1) / np.sqrt(len(share_N)) if len(share_N) > 1 else np.nan
    return Foretold(100 * float(share_N.mean()), 100 * float(error))


def rows_of(share_N: Array, difference_N: Array, difficulty_N: Array | None = None) -> Rows:
    """Rows from the model's shares and the characters of the baseline's answers minus the model's.

    Without difficulties their term is 0. Differences that are all the same tell nothing of length: 0 too.
    """
    spread = difference_N.std(ddof=1) if len(difference_N) > 1 else 0.0
    length_N = difference_N / spread if spread > 0 else np.zeros(len(difference_N))
    return Rows(share_N, length_N, np.zeros(len(share_N)) if difficulty_N is None else difficulty_N)


def refit(rows: Rows, gamed: Rows | None = None) -> Weights:
    """The weights as alpaca_eval 0.6.6 fits them: its `length_controlled_v1` with rows of gamed outputs,
    without these and difficulties its `length_controlled_minimal`.

    Raises DataError for fewer rows than cross-validation has folds.
    """
    design = _design(rows, gamed)
    if len(design.share_N) < FOLDS:
        raise DataError(f"{len(design.share_N)} rows: cross-validation asks for at least {FOLDS}")
    return _fit(design, _strength(design))


def length_controlled_win_rate(
    judgments: Sequence[Judgment],
    answers: Mapping[str, Answer],
    baseline_answers: Mapping[str, Answer],
    *,
    rule: Rule = "mean",
    published: Published | None = None,
) -> LengthControlled:
    """Of one model and baseline before one judge, from their answers by question.

    With what AlpacaEval 2 publishes this is its own figure. Other questions have no published difficulty, and
    no gamed outputs were judged on them. Then the regression has the terms length and model only and is not
    shrunk: the strength that cross-validation chooses on some tens of questions is often one that shrinks
    the model's weight to 0, and so the win rate to 50 (in four of ten simulations with 80 questions of which
    60 % are won). Such a figure is to be compared with others of the same questions and baseline only; where
    nearly all answers of the model are longer, or shorter, it is an extrapolation, and its interval is wide.

    A row is a question and turn with both orders and all samples, which the `rule` makes one: the mean share
    where the judge gave verdicts and the rule is `mean`, the outcome otherwise. The interval is the
    percentile bootstrap over questions, at the strength of the whole.

    Raises DataError where no judgment could be understood, for several models or judges, and naming the
    question for which an answer or a published difficulty is missing.
    """
    names = sides_of(judgments)
    found = pairs(judgments, rule)
    if not found:
        raise DataError("no question has a judgment that could be understood; look at the judge's replies")
    by_outcome = rule == "agree" or scored(judgments)
    difference_N = [
        _characters(baseline_answers, pair, names.baseline) - _characters(answers, pair, names.model)
        for pair in found
    ]
    rows = rows_of(
        np.array([pair.outcome if by_outcome else pair.value for pair in found]),
        np.array(difference_N, float),
        None if published is None else _difficulties(published.difficulty, found),
    )
    design = _design(rows, None if published is None else published.gamed)
    strength = float(STRENGTHS[-1]) if published is None else _strength(design)
    weights = _fit(design, strength)
    value = length_controlled(weights, rows.difficulty_N).win_rate
    places: dict[str, int] = {}
    question_N = np.array([places.setdefault(pair.question, len(places)) for pair in found])
    low, high = _bounds(design, rows.difficulty_N, question_N, strength)
    return LengthControlled(Interval(value, low, high), weights, len(places))


class _Design(NamedTuple):
    """Rows as the solver takes them, those of gamed outputs first."""

    terms_NF: Array
    share_N: Array
    weight_N: Array


def _design(rows: Rows, gamed: Rows | None) -> _Design:
    parts = [rows] if gamed is None else [gamed, rows]
    own_N = np.concatenate([np.full(len(part.share_N), part is rows, float) for part in parts])
    share_N, length_N, difficulty_N = (np.concatenate(column) for column in zip(*parts, strict=True))
    terms_NF = np.column_stack([np.tanh(length_N), difficulty_N, own_N])
    return _Design(terms_NF, share_N, np.where(own_N > 0, 1.0, GAMED_WEIGHT))


def _strength(design: _Design) -> float:
    """The one whose weighted log-loss on folds left out is least."""
    losses = []
    for kept, left in GroupKFold(FOLDS).split(design.terms_NF, groups=np.arange(len(design.share_N))):
        random = np.random.RandomState(SEED)  # one stream for a fold's fits, as in scikit-learn's own search
        fitted = [_fit(_part(design, kept), strength, random) for strength in STRENGTHS]
        losses.append([_loss(weights, _part(design, left)) for weights in fitted])
    return float(STRENGTHS[int(np.argmin(np.mean(losses, axis=0)))])


def _part(design: _Design, rows: NDArray[np.intp]) -> _Design:
    return _Design(design.terms_NF[rows], design.share_N[rows], design.weight_N[rows])


def _fit(design: _Design, strength: float, random: int | np.random.RandomState = SEED) -> Weights:
    """A share is learnt from two copies of its row, labels 1 and 0, weighted by it and by what it leaves."""
    copies = [design.share_N * design.weight_N, (1 - design.share_N) * design.weight_N]
    if not copies[0].any() or not copies[1].any():
        copies = [copy_N + ABSENT for copy_N in copies]
    used_F: NDArray[np.bool_] = np.any(design.terms_NF, axis=0)
    solver = LogisticRegression(
        C=strength, l1_ratio=1, solver="liblinear", fit_intercept=False, random_state=random
    )
    solver.fit(
        np.concatenate([design.terms_NF, design.terms_NF])[:, used_F],
        np.repeat([1, 0], len(design.share_N)),
        sample_weight=np.concatenate(copies),
    )
    weights_F = np.zeros(len(used_F))
    weights_F[used_F] = solver.coef_[0]
    return Weights(*weights_F.tolist())


def _loss(weights: Weights, design: _Design) -> float:
    margin_N = design.terms_NF @ np.array(weights)
    loss_N = design.share_N * np.logaddexp(0, -margin_N) + (1 - design.share_N) * np.logaddexp(0, margin_N)
    return float(np.mean(design.weight_N * loss_N))


def _foretold(weights: Weights, difficulty_N: Array) -> Array:
    share_N: Array = expit(weights.difficulty * difficulty_N + weights.model)
    return share_N


def _bounds(
    design: _Design, difficulty_N: Array, question_N: NDArray[np.intp], strength: float
) -> tuple[float, float]:
    random = np.random.default_rng(SEED)
    questions = int(question_N.max()) + 1
    gamed = len(design.share_N) - len(question_N)
    drawn = []
    for _ in range(RESAMPLES):
        count_N = np.bincount(random.integers(questions, size=questions), minlength=questions)[question_N]
        times_N = np.concatenate([np.ones(gamed), count_N])
        weights = _fit(design._replace(weight_N=design.weight_N * times_N), strength)
        drawn.append(100 * np.average(_foretold(weights, difficulty_N), weights=count_N))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _characters(answers: Mapping[str, Answer], pair: Pair, model: str) -> int:
    answer = answers.get(pair.question)
    if answer is None or len(answer.turns) < pair.turn:
        raise DataError(
            f"question {pair.question}, turn {pair.turn}: no answer of {model}, whose length is asked for; "
            "give the answers that were judged"
        )
    return len(answer.turns[pair.turn - 1])


def _difficulties(difficulty: Mapping[str, float], found: Sequence[Pair]) -> Array:
    for pair in found:
        if pair.question not in difficulty:
            raise DataError(
                f"question {pair.question}: no difficulty is published; leave what AlpacaEval publishes out "
                "for other questions than its own"
            )
    return np.array([difficulty[pair.question] for pair in found])
