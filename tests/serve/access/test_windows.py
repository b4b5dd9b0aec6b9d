"""Sliding windows: when there is room again, and how it is said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.serve.access.windows import MINUTE_S, Window, duration, headers, retry_after


@st.composite
def windows(draw: st.DrawFn) -> Window:
    left = draw(st.floats(0.001, 60))
    previous, current = draw(st.integers(0, 10_000)), draw(st.integers(0, 10_000))
    return Window(previous, left if previous else 0.0, current, left + MINUTE_S)


def later(window: Window, seconds: float) -> float:
    """What counts some seconds later, if nothing is added."""
    left = window.current_s - MINUTE_S
    if seconds < left:
        return window.previous * max(0.0, window.previous_s - seconds) / MINUTE_S + window.current
    return window.current * max(0.0, window.current_s - seconds) / MINUTE_S


@given(windows(), st.integers(1, 20_000))
def test_there_is_room_just_after_the_wait_and_none_before(window: Window, limit: int) -> None:
    wait = window.room_s(limit)
    assert later(window, wait + 0.001) < limit
    if wait > 0.01:
        assert later(window, wait * 0.99) >= limit * 0.999


@given(windows())
def test_all_is_there_again_after_the_reset(window: Window) -> None:
    assert later(window, window.empty_s) == pytest.approx(0, abs=1e-6)
    assert (window.empty_s == 0) == (window.previous == window.current == 0)


@given(windows(), st.integers(0, 1000))
def test_more_counts_in_full(window: Window, amount: int) -> None:
    assert window.plus(amount).used == window.used + amount


def test_the_first_of_a_window_counts_for_two_minutes() -> None:
    assert Window().plus(5) == Window(0, 0.0, 5, 120.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.25, "250ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (7.66, "7.66s"),
        (60, "1m0s"),
        (90.5, "1m30.5s"),
    ],
)
def test_durations_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 200))
def test_durations_are_never_too_short(seconds: float) -> None:
    minutes, rest, ms = re.fullmatch(r"(?:(\d+)m)?(?:([\d.]+)s)?(?:(\d+)ms)?", duration(seconds)).groups()
    said = float(minutes or 0) * 60 + float(rest or 0) + float(ms or 0) / 1000
    assert seconds - 1e-9 <= said <= seconds + 0.0011


@given(st.floats(0, 200))
def test_retry_after_is_whole_seconds_from_one_up(seconds: float) -> None:
    assert int(retry_after(seconds)) >= max(1, seconds)


@given(windows(), st.integers(1, 20_000))
def test_headers_never_promise_less_than_nothing(window: Window, limit: int) -> None:
    said = {name.decode(): value.decode() for name, value in headers("tokens", limit, window)}
    assert set(said) == {f"x-ratelimit-{what}-tokens" for what in ("limit", "remaining", "reset")}
    assert said["x-ratelimit-limit-tokens"] == str(limit)
    assert int(said["x-ratelimit-remaining-tokens"]) == max(0, limit - window.used)
