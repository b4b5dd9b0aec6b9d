"""Ratings of many models from their games (Bradley and Terry 1952), on the scale of Elo (1978).

The odds that i wins against j are strength_i / strength_j; a rating is 400 log10 of the strength, so that a
model 400 points above another wins ten games of eleven. Ties are half a win for both (as Chatbot Arena counts
them, Chiang et al. 2024). M models, Q questions, P ordered pairs of models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit
from threadpoolctl import threadpool_limits

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics.pairs import outcome

Array = NDArray[np.float64]
MEAN = 1000.0
POINTS = 400 / math.log(10)  # of rating, for a log-strength of 1
# Keeps ratings finite where a model, or a group of them, wins all its games against the rest: how far above
# it stands is then due to this number. Of 60 wins in 80 games it takes 0.06 points.
RIDGE = 0.01
RESAMPLES = 500
SEED = 0
STEPS = 100
EXACT = 1e-9  # log-strength


class Rating(NamedTuple):
    """A model's rating with its 95 % interval over questions, points. Of a model that won or lost all its
    games the data bounds the rating from one side only: `high` is inf, or `low` is -inf."""

    model: str
    rating: float
    low: float
    high: float
    games: int


def ratings(
    judgments: Sequence[Judgment], anchor: str | None = None, resamples: int = RESAMPLES
) -> list[Rating]:
    """All models of these judgments, baselines among them, the best first.

    A judgment that could be understood is a game: a verdict or share counts as it is, of scores the greater
    wins. The likelihood is maximised by Newton's steps; the intervals are the percentile bootstrap, which
    draws questions with all their games. The anchor is rated 1000; without one the mean is 1000, of the
    models that have both won and lost.

    Raises DataError for judgments of single answers, where no game is left, for an unknown anchor, and
    naming models that no game connects, for nothing tells how these compare.
    """
    games = _games(judgments)
    if anchor is not None and anchor not in games.models:
        raise DataError(f"anchor {anchor!r}: no such model; there are {', '.join(games.models)}")
    questions = games.won_QP.shape[0]
    whole_MM = _wins(games, np.ones(questions, int))
    _check_connected(whole_MM, games.models)
    won_M, lost_M = whole_MM.sum(axis=1), whole_MM.sum(axis=0)
    zero_M = _zero(games.models, anchor, (won_M > 0) & (lost_M > 0))
    strength_M = _fit(whole_MM, np.zeros(len(games.models)))
    random = np.random.default_rng(SEED)
    drawn_BM = np.empty((resamples, len(games.models)))
    with threadpool_limits(1):  # systems this small are solved before threads have found each other
        for drawn_M in drawn_BM:
            count_Q = np.bincount(random.integers(questions, size=questions), minlength=questions)
            drawn_M[:] = _points(_fit(_wins(games, count_Q), strength_M), zero_M)
    low_M, high_M = np.quantile(drawn_BM, [0.025, 0.975], axis=0)
    low_M[won_M == 0], high_M[lost_M == 0] = -math.inf, math.inf
    columns = (column.tolist() for column in (_points(strength_M, zero_M), low_M, high_M, games.played_M))
    rows = [Rating(*row) for row in zip(games.models, *columns, strict=True)]
    return sorted(rows, key=lambda row: -row.rating)


class _Games(NamedTuple):
    models: list[str]
    won_QP: coo_array
    """Wins of the first over the second of each ordered pair, by question; P = M x M."""
    played_M: NDArray[np.intp]


def _games(judgments: Sequence[Judgment]) -> _Games:
    for one in judgments:
        if one.baseline is None:
            raise DataError(f"question {one.question}: a grade of a single answer is no game of two models")
    played = [
        (one.question, one.model, str(one.baseline), _won(one.value, one.against))
        for one in judgments
        if one.value is not None and one.against is not None
    ]
    if not played:
        raise DataError("no judgment of two answers could be understood; look at the judge's replies")
    # Sorted, so that neither ratings nor draws depend on the order of the judgments.
    questions = _places(row[0] for row in played)
    models = _places(name for row in played for name in row[1:3])
    rows = [(questions[row[0]], models[row[1]], models[row[2]], row[3]) for row in played]
    question_G, first_G, second_G, won_G = (np.array(column) for column in zip(*rows, strict=True))
    pairs_G = np.concatenate([first_G * len(models) + second_G, second_G * len(models) + first_G])
    won_QP = coo_array(
        (np.concatenate([won_G, 1 - won_G]), (np.concatenate([question_G, question_G]), pairs_G)),
        shape=(len(questions), len(models) ** 2),
    ).tocsr()
    played_M = np.bincount(np.concatenate([first_G, second_G]), minlength=len(models))
    return _Games(list(models), won_QP, played_M)


def _won(value: float, against: float) -> float:
    return value if value + against == 1 else outcome(value, against)


def _places(names: Iterable[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(sorted(set(names)))}


def _wins(games: _Games, count_Q: NDArray[np.intp]) -> Array:
    """Wins of the row's model over the column's, each question counted so many times."""
    wins_MM: Array = (count_Q @ games.won_QP).reshape(len(games.models), -1)
    return wins_MM


def _check_connected(wins_MM: Array, models: Sequence[str]) -> None:
    count, group_M = connected_components(wins_MM, directed=False)
    if count > 1:
        groups = [
            ", ".join(model for model, own in zip(models, group_M, strict=True) if own == group)
            for group in range(count)
        ]
        raise DataError(
            f"no game connects {' with '.join(groups)}, so nothing tells how these compare; rate each apart, "
            "or have some of them compared"
        )


def _fit(wins_MM: Array, start_M: Array) -> Array:
    """Log-strengths of greatest likelihood, by Newton's method; steps that go too far are halved."""
    games_MM = wins_MM + wins_MM.T
    strength_M = start_M
    loss = _loss(wins_MM, strength_M)
    for _ in range(STEPS):
        share_MM = expit(strength_M[:, None] - strength_M)
        slope_M = (games_MM * share_MM - wins_MM).sum(axis=1) + RIDGE * strength_M
        curve_MM = -games_MM * share_MM * (1 - share_MM)
        np.fill_diagonal(curve_MM, 0)
        np.fill_diagonal(curve_MM, RIDGE - curve_MM.sum(axis=1))
        step_M = np.linalg.solve(curve_MM, slope_M)
        while (new := _loss(wins_MM, strength_M - step_M)) > loss + EXACT:
            step_M /= 2
        strength_M, loss = strength_M - step_M, new
        if np.abs(step_M).max() < EXACT:
            break
    return strength_M


def _loss(wins_MM: Array, strength_M: Array) -> float:
    behind_MM = strength_M - strength_M[:, None]
    return float((wins_MM * np.logaddexp(0, behind_MM)).sum() + RIDGE / 2 * (strength_M**2).sum())


def _zero(models: Sequence[str], anchor: str | None, bounded_M: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of which models the mean is 1000."""
    if anchor is not None:
        return np.array([model == anchor for model in models])
    return bounded_M if bounded_M.any() else ~bounded_M


def _points(strength_M: Array, zero_M: NDArray[np.bool_]) -> Array:
    points_M: Array = MEAN + POINTS * (strength_M - strength_M[zero_M].mean())
    return points_M
