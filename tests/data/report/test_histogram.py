"""Bins, counts, and what is said about them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ochat_ray.data.report.charts import plot, share
from ochat_ray.data.report.histogram import Histogram, bins, count, merge


@pytest.mark.parametrize("per_doubling", [1, 2, 4])
def test_bins_have_powers_of_two_as_edges_and_ascend(per_doubling: int) -> None:
    edges = bins(per_doubling)
    assert edges[:3] == (0, 1, 2)
    assert list(edges) == sorted(set(edges))
    assert {2**power for power in range(41)} <= set(edges)


def test_each_value_falls_into_the_bin_that_holds_it() -> None:
    values = [0, 1, 5, 2047, 2048, 2**50]
    counted = count(values, bins(4))
    assert counted.total == len(values)
    filled = [
        (low, high)
        for low, high, n in zip(counted.edges, counted.edges[1:], counted.counts, strict=False)
        if n
    ]
    assert filled[:2] == [(0, 1), (1, 2)]
    assert all(low <= value < high for value, (low, high) in zip(values[:5], filled[:5], strict=True))


def test_parts_merge_to_the_whole() -> None:
    values = [3, 77, 500, 501, 9000]
    parts = [count(values[:2], bins(2)), count(values[2:], bins(2))]
    assert merge(parts) == count(values, bins(2))
    assert merge([]).total == 0


def test_trimming_keeps_what_was_counted() -> None:
    trimmed = count([100, 4000], bins(1)).trimmed()
    assert trimmed.edges == (64, 128, 256, 512, 1024, 2048, 4096)
    assert trimmed.total == 2
    assert count([], bins(1)).trimmed().counts == ()


def test_quantile_is_within_its_bin() -> None:
    assert count([10] * 100, (0, 8, 16)).quantile(0.5) == 12
    assert count([7, 9, 1000], bins(1)).quantile(1) <= 1024
    assert count([], bins(1)).quantile(0.5) == 0


def test_limit_lies_where_its_number_does() -> None:
    drawn = plot(count([1024, 5000], bins(1)), "tokens", 2048)
    assert drawn is not None
    assert drawn.mark == pytest.approx(100 / 3, abs=0.01)
    assert plot(count([1024], bins(1)), "tokens", 4096).mark is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, "0%"), (1, 10_000, "<0.1%"), (9_999, 10_000, ">99.9%"), (1, 8, "12.5%"), (5, 5, "100%")],
)
def test_share_does_not_round_to_none_or_all(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_edges_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match="2 edges for 2 bins"):
        Histogram(edges=(1, 2), counts=(1, 2))
    with pytest.raises(ValidationError, match="ascend"):
        Histogram(edges=(1, 1), counts=(1,))
