"""alpaca_eval's CSV files of its length-controlled win rate: weights, difficulties, rows of gamed outputs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ochat_ray.errors import DataError
from ochat_ray.eval.statistics.length_control import Rows, Weights

DIFFICULTY = "instruction_difficulty"
TERMS = ("np.tanh(std_delta_len)", DIFFICULTY, "not_gamed_baseline.astype(float)")


def read_weights(path: Path) -> dict[str, Weights]:
    """Weights of the regression, by model. Raises DataError with file and line."""
    return {row[""]: Weights(*(_number(row, term, where) for term in TERMS)) for where, row in _rows(path)}


def read_difficulty(path: Path) -> NDArray[np.float64]:
    """Difficulty of each instruction, shape (N,), by position in AlpacaEval's list, from 0."""
    return np.array([_number(row, DIFFICULTY, where) for where, row in _rows(path)])


def read_gamed(path: Path) -> Rows:
    """The rows that regularise it (`df_gamed.csv`): shares and standardised differences of length."""
    names = ("preference", "std_delta_len", DIFFICULTY)
    rows = _rows(path)
    return Rows(*(np.array([_number(row, name, where) for where, row in rows]) for name in names))


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
