"""AlpacaEval's win rates (Li et al. 2023; github.com/tatsu-lab/alpaca_eval), 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Judgment


@dataclass(frozen=True)
class WinRate:
    """Rates and the standard error of the mean (ddof 1; NaN for one judgment) are percent."""

    win_rate: float
    standard_error: float
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_total: int
    discrete_win_rate: float
    """Wins and half of the draws, however sure the judge was."""


def win_rate(judgments: Sequence[Judgment]) -> WinRate:
    """Of verdicts, or of shares between 0 and 1 (AlpacaEval 2); those that are not understood are dropped.

    Raises DataError where none is left.
    """
    shares = np.array([one.value for one in judgments if one.value is not None], float)
    if not len(shares):
        raise DataError("no judgment could be understood; look at the judge's replies")
    wins, draws, total = int((shares > 0.5).sum()), int((shares == 0.5).sum()), len(shares)
    return WinRate(
        win_rate=100 * float(shares.mean()),
        standard_error=100 * float(shares.std(ddof=1)) / math.sqrt(total) if total > 1 else math.nan,
        n_wins=wins,
        n_wins_base=total - wins - draws,
        n_draws=draws,
        n_total=total,
        discrete_win_rate=100 * (wins + draws / 2) / total,
    )
