"""Progress lines carry count, rate and time left."""

from __future__ import annotations

import io

import pytest

from ochat_ray import progress
from ochat_ray.progress import Progress, duration


def test_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 6.0, 6.0, 7.0, 10.0, 10.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with Progress("clean", total=300, unit="pages", stream=stream) as bar:
        bar.update(60, note="x")
        bar.update(60)  # too soon after the last line to be shown
    shown, final = stream.getvalue().splitlines()
    assert shown == "clean: 60/300 pages, 10/s, 24 s left, x"
    assert final == "clean: 120/300 pages, 12/s, took 10 s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_lines_that_fit_and_others_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    clock = iter([0.0, 40.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = Terminal()
    bar = Progress("train", total=100, unit="steps", stream=stream)
    bar.update(2, note="loss 1.2345, a note that is too long")
    bar.tell("train: started again")
    first, second = "train: 2/100 steps, 20 s each,", "train: started again"
    assert stream.getvalue() == f"\r\x1b[K{first[:29]}\r\x1b[K{second}\n"
