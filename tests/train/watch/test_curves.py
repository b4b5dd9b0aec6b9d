"""Curves: smoothing that does not lag, thinning that loses no peak, axes with round numbers."""

from __future__ import annotations

import numpy as np
import pytest

from ochat_ray.train.watch.axes import Scale, compact, number, of_values, path
from ochat_ray.train.watch.curves import Series, smoothed, spread, thinned


def series(values: np.ndarray) -> Series:
    return Series(np.arange(1, len(values) + 1), np.asarray(values, dtype=np.float64))


def test_values_are_taken_where_they_are() -> None:
    found = Series.of(
        [{"step": 1, "loss": 2.0}, {"step": 2, "skipped": "nan"}, {"step": 3, "loss": 1.0}], "loss"
    )
    assert found.steps_N.tolist() == [1, 3]
    assert found.values_N.tolist() == [2.0, 1.0]


def test_few_points_are_left_as_they_are() -> None:
    line = series(np.arange(100))
    assert thinned(line, 100) is line


@pytest.mark.parametrize("count", [1201, 5000, 100_000])
def test_many_points_are_thinned_out_but_ends_and_peaks_stay(count: int) -> None:
    values = np.random.default_rng(1).normal(size=count)
    values[count // 3], values[count // 2] = 50, -50
    few = thinned(series(values))
    assert 1000 < len(few) <= 1200
    assert few.values_N.max() == 50 and few.values_N.min() == -50
    assert few.steps_N[0] == 1 and few.steps_N[-1] == count
    assert np.all(np.diff(few.steps_N) > 0)
    assert np.array_equal(few.values_N, values[few.steps_N - 1])


def test_a_straight_line_stays_itself_but_near_its_ends() -> None:
    line = series(np.arange(1000.0))
    smooth = smoothed(line)
    assert smooth is not None
    assert smooth.values_N[60:-60] == pytest.approx(line.values_N[60:-60])
    assert abs(smooth.values_N - line.values_N).max() < 10


def test_noise_is_smoothed() -> None:
    smooth = smoothed(series(np.random.default_rng(1).normal(size=4000)))
    assert smooth is not None and smooth.values_N[50:-50].std() < 0.2


def test_few_values_are_not_smoothed() -> None:
    assert smoothed(series(np.arange(19.0))) is None


def test_spread() -> None:
    assert spread(3, 10).tolist() == [0, 1, 2]
    few = spread(10_000, 800)
    assert len(few) == 800 and few[0] == 0 and few[-1] == 9_999


def test_rare_peaks_do_not_flatten_the_rest() -> None:
    values = np.random.default_rng(1).uniform(1, 2, size=1000)
    assert of_values([series(values)]).high < 2.2
    values[500] = 100
    assert of_values([series(values)]).high < 2.5
    values[100:200] = 100  # no longer rare
    assert of_values([series(values)]).high > 100


@pytest.mark.parametrize("values", [[0.0], [5.0], [0.0, 0.0], [-3.0, -3.0]])
def test_a_scale_has_room_where_all_values_are_one(values: list[float]) -> None:
    scale = of_values([series(np.array(values))])
    assert scale.low < scale.high and scale.ticks(4)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 2.1e-5, ["0", "1e-05", "2e-05"]),
        (0.31, 1.27, ["0.4", "0.6", "0.8", "1.0", "1.2"]),
        (0, 53_000, ["0", "20k", "40k"]),
    ],
)
def test_ticks_are_round(low: float, high: float, texts: list[str]) -> None:
    assert [tick.text for tick in Scale(low, high).ticks(5 if high > 1 else 4)][: len(texts)] == texts


def test_steps_are_whole() -> None:
    assert [tick.text for tick in Scale(1, 3).ticks(8, whole=True)] == ["1", "2", "3"]


def test_a_line_lies_within_its_plot() -> None:
    drawn = path(series(np.array([0.0, 10.0, 99.0])), Scale(1, 3), Scale(0, 10))
    assert drawn == "M0 1000L500 0L1000 0"


def test_numbers() -> None:
    assert [compact(value) for value in (0.5, 999, 12_345, 1.5e6)] == ["0.5", "999", "12.3k", "1.5M"]
    assert number(0.25, 0.05) == "0.25"
