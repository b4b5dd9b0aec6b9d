"""AlpacaEval 1 and 2: win rates, length-controlled win rates, preferences from log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ochat_ray.eval.formats import alpaca
from ochat_ray.eval.formats.length_control import read_difficulty, read_gamed, read_weights
from ochat_ray.eval.published.rows import EXACT, Figures, Row, beside
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics.alpaca import win_rate
from ochat_ray.eval.statistics.length_control import Foretold, length_controlled, refit, rows_of

PREFERENCE = 2e-6  # a preference, from log-probabilities as they were published
REFITTED = 0.16  # percent: the regularising rows that are public have true terms, but a surrogate's shares
CONTROLLED = "length_controlled_winrate"


def alpaca_eval(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """A model's annotations, or where there are none its row of the leaderboard."""
    version = name.partition("/")[0]
    file = folder / name / "annotations.json"
    if not file.exists():
        yield from _leaderboard(folder, name, expected)
        return
    ours = win_rate(alpaca.read_annotations(file))
    figures = (
        "win_rate",
        "standard_error",
        "n_wins",
        "n_wins_base",
        "n_draws",
        "n_total",
        "discrete_win_rate",
    )
    yield from beside(
        name, EXACT, {figure: (expected.get(figure), getattr(ours, figure)) for figure in figures}
    )
    if version == "alpaca_eval_2":
        yield from _length_controlled(folder, name, expected)
        yield from _preferences(file, name)


def _length_controlled(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """From the published weights, and from weights fitted anew."""
    meta = folder / "alpaca_eval_meta"
    file = folder / name / "annotations.json"
    judged = [one for one in alpaca.read_annotations(file) if one.value is not None]
    # Published figures take difficulties by position, also where rows are missing.
    difficulty = read_difficulty(meta / "instruction_difficulty_recovered.csv")[: len(judged)]
    weights = read_weights(meta / "glm_weights_AE2.csv").get(name.partition("/")[2].removesuffix("__glm"))
    if weights is not None:
        yield from beside(name, EXACT, _foretold(expected, length_controlled(weights, difficulty)))
    answers = alpaca.read_compared(file)
    differences = [
        len(answers.baseline[one.question].turns[0]) - len(answers.model[one.question].turns[0])
        for one in judged
    ]
    rows = rows_of(np.array([one.value for one in judged]), np.array(differences, float), difficulty)
    anew = length_controlled(refit(rows, read_gamed(meta / "df_gamed_surrogate.csv")), difficulty)
    yield from beside(name, REFITTED, _foretold(expected, anew, ", refitted"))


def _foretold(expected: Mapping[str, Any], ours: Foretold, how: str = "") -> Figures:
    error = "lc_standard_error"
    return {
        CONTROLLED + how: (expected.get(CONTROLLED), ours.win_rate),
        error + how: (expected.get(error), ours.standard_error),
    }


def _preferences(file: Path, name: str) -> Iterator[Row]:
    """The preference that is farthest from what the judge's log-probabilities make it."""
    published = {one.question: one.value for one in alpaca.read_annotations(file)}
    both = [
        (theirs, one.value)
        for one in alpaca.read_completions(file)
        if one.value is not None and (theirs := published[one.question]) is not None
    ]
    if both:
        theirs, ours = max(both, key=lambda pair: abs(pair[0] - pair[1]))
        figure = f"share, farthest of {len(both)} from raw"
        yield from beside(name, PREFERENCE, {figure: (theirs, ours)})


def _leaderboard(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """A row of the leaderboard: its rates from its counts, its length from the model's outputs."""
    version, _, model = name.replace("/leaderboard", "").partition("/")
    if "n_wins" in expected:
        wins, draws, total = (int(expected[key]) for key in ("n_wins", "n_draws", "n_total"))
        values = [1.0] * wins + [0.5] * draws + [0.0] * (total - wins - draws)
        ours = win_rate(
            [Judgment(str(i), "", model, "baseline", "", value) for i, value in enumerate(values)]
        )
        yield from beside(
            name,
            EXACT,
            {figure: (expected[figure], getattr(ours, figure)) for figure in ("win_rate", "standard_error")},
        )
    outputs = folder / "alpaca_eval_outputs" / model / "model_outputs.json"
    if outputs.exists():
        lengths = [len(answer.turns[0]) for answer in alpaca.read_outputs(outputs)]
        whole = sum(lengths) // len(lengths)  # published so
        yield from beside(name, 0, {"avg_length": (expected.get("avg_length"), whole)})
    weights = read_weights(folder / "alpaca_eval_meta/glm_weights_AE2.csv").get(model)
    if version == "alpaca_eval_2" and weights is not None:
        difficulty = read_difficulty(folder / "alpaca_eval_meta/instruction_difficulty_recovered.csv")
        yield from beside(name, EXACT, _foretold(expected, length_controlled(weights, difficulty)))
