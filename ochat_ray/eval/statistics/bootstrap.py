"""How sure a figure is: intervals by resampling questions, and the significance of a difference.

Questions, not judgments, are what a benchmark is a sample of: several judgments of a question are one draw.
Q questions, A columns, B resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ochat_ray.errors import DataError

Array = NDArray[np.float64]
RESAMPLES = 2000
SEED = 0


class Interval(NamedTuple):
    """A figure and its 95 % interval, in the figure's own unit."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """Of two models on the same questions: mean difference with its interval, and the p-value of none."""

    value: float
    low: float
    high: float
    p_value: float
    questions: int


class Resampled:
    """Means of columns over questions, and over `RESAMPLES` draws of as many questions with replacement.

    Efron's percentile bootstrap (1979). All figures of one table share the draws, so that differences between
    them are those of the same questions.
    """

    def __init__(self, columns_QA: Array, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        questions = len(columns_QA)
        if not questions:
            raise DataError(
                "no question has a judgment that could be understood; look at the judge's replies"
            )
        self._means_A = columns_QA.mean(axis=0)
        random = np.random.default_rng(seed)
        self._means_BA = np.empty((resamples, columns_QA.shape[1]))
        for means_A in self._means_BA:
            drawn_Q = np.bincount(random.integers(questions, size=questions), minlength=questions)
            means_A[:] = drawn_Q @ columns_QA / questions

    def interval(self, figure: Callable[[Array], Any], level: float = 0.95) -> Interval:
        """The interval of a figure that is a function of the columns' means, shape (..., A) -> (...).

        Draws in which the figure is undefined (0/0) are left out; where all are, everything is NaN.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(figure(self._means_A))
            drawn_B = np.asarray(figure(self._means_BA), float)
        drawn_B = drawn_B[np.isfinite(drawn_B)]
        if not len(drawn_B):
            return Interval(value, float("nan"), float("nan"))
        low, high = np.quantile(drawn_B, [(1 - level) / 2, (1 + level) / 2])
        return Interval(value, float(low), float(high))


def mean_interval(values_Q: Array, scale: float = 1.0) -> Interval:
    """The mean of one value a question, times `scale`."""
    return Resampled(np.asarray(values_Q, float)[:, None]).interval(lambda means: scale * means[..., 0])


def paired_difference(first_Q: Array, second_Q: Array) -> Difference:
    """Mean of `first - second` over the same questions in the same order.

    The p-value is that of Wilcoxon's signed-rank test (1945), two-sided, zeros split
    between both signs, which asks for no normal distribution; 1 where no question differs.
    """
    difference_Q = np.asarray(first_Q, float) - np.asarray(second_Q, float)
    found = mean_interval(difference_Q)
    p_value = 1.0
    if np.any(difference_Q):
        p_value = float(stats.wilcoxon(difference_Q, zero_method="zsplit", method="asymptotic").pvalue)
    return Difference(*found, p_value, len(difference_Q))
