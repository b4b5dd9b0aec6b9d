"""Intervals hold what they promise, and differences are significant when they are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ochat_ray.errors import DataError
from ochat_ray.eval.statistics.bootstrap import Resampled, mean_interval, paired_difference


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = mean_interval(values)
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error * 3)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error * 3)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        found = mean_interval(random.normal(0, 1, 60))
        hits += found.low <= 0 <= found.high
    assert 180 <= hits <= 199


def test_a_figure_that_no_draw_defines_is_nan() -> None:
    found = Resampled(np.zeros((3, 2))).interval(lambda means: means[..., 0] / means[..., 1])
    assert all(map(math.isnan, found))


def test_no_question_is_an_error() -> None:
    with pytest.raises(DataError, match="no question"):
        Resampled(np.zeros((0, 2)))


def test_paired_differences() -> None:
    random = np.random.default_rng(3)
    base = random.normal(0, 1, 100)
    better = paired_difference(base + 0.5 + random.normal(0, 0.1, 100), base)
    assert better.p_value < 1e-6 and better.low > 0.4 and better.questions == 100
    same = paired_difference(base, base)
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)
