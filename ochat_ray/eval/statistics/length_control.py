"""AlpacaEval 2's length-controlled win rate (Dubois et al. 2024), from weights of its logistic regression."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ochat_ray.errors import DataError

DIFFICULTY = "instruction_difficulty"
TERMS = ("np.tanh(std_delta_len)", DIFFICULTY, "not_gamed_baseline.astype(float)")


class Weights(NamedTuple):
    """What the regression gives to the difference of lengths, the instruction's difficulty, and the model."""

    length: float
    difficulty: float
    model: float


def length_controlled(weights: Weights, difficulty_N: NDArray[np.float64]) -> float:
    """The win rate, percent, that the regression foretells for answers as long as the baseline's."""
    return 100 * float(expit(weights.difficulty * difficulty_N + weights.model).mean())


def read_weights(path: Path) -> dict[str, Weights]:
    """alpaca_eval's CSV of weights, by model. Raises DataError with file and line."""
    return {row[""]: Weights(*(_number(row, term, where) for term in TERMS)) for where, row in _rows(path)}


def read_difficulty(path: Path) -> NDArray[np.float64]:
    """Difficulty of each instruction, shape (N,), by position in AlpacaEval's list, from 0."""
    return np.array([_number(row, DIFFICULTY, where) for where, row in _rows(path)])


def _rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [(f"{path}:{line}", row) for line, row in enumerate(csv.DictReader(file), 2)]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give the path of a CSV file") from error


def _number(row: dict[str, str], name: str, where: str) -> float:
    try:
        return float(row[name])
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{where}: {name} {row.get(name)!r}: expected a number") from None
