"""Progress lines carry count, rate and time left."""

from __future__ import annotations

import io
import json
from datetime import datetime

import pytest

from ochat_ray import progress
from ochat_ray.progress import Progress, duration


class Clock:
    """Time as a test sets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_lines(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("clean", total=300, unit="pages", stream=stream) as bar:
        clock.now = 6
        bar.update(60, note="x")
        clock.now = 7
        bar.update(60)  # too soon after the last line to be shown
        clock.now = 10
    shown, final = stream.getvalue().splitlines()
    assert shown == "clean: 60/300 pages, 10 pages/s, 24 s left, x"
    assert final == "clean: 120/300 pages, 12 pages/s, took 10 s"


def test_little_input_counts_too(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("clean", total=0.31, unit="MB", stream=stream) as bar:
        clock.now = 8
        bar.update(0.12)
        clock.now = 16
        bar.update(0.19)  # all of it: the last line says so
    assert stream.getvalue().splitlines() == [
        "clean: 0.12/0.31 MB, 13 s left",
        "clean: 0.31/0.31 MB, took 16 s",
    ]


def test_no_guess_is_made_from_the_start_of_workers(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("clean", total=1000, unit="MB", stream=stream) as bar:
        clock.now = 8
        bar.update(1)
        clock.now = 31
        bar.update(30)
    assert stream.getvalue().splitlines()[0] == "clean: 1/1,000 MB, 0.12 MB/s"
    assert "16 min 09 s left" in stream.getvalue().splitlines()[1]


def test_what_was_stopped_is_not_called_done(clock: Clock) -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Progress("clean", total=232, unit="MB", stream=stream) as bar:
        bar.update(67)
        clock.now = 8
        raise KeyboardInterrupt
    assert stream.getvalue() == "clean: 67/232 MB, 8.4 MB/s, stopped after 8 s\n"


def test_a_terminal_shows_at_once_what_is_at_work(clock: Clock) -> None:
    stream = Terminal()
    with Progress("report", total=1, unit="pages", stream=stream) as bar:
        assert stream.getvalue().endswith("report: 0/1 pages")
        clock.now = 9
        bar.update(1)
    assert stream.getvalue().endswith("report: 1/1 pages, took 9 s\n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_terminal_gets_lines_that_fit_and_others_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    clock = iter([0.0, 40.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = Terminal()
    bar = Progress("train", total=100, unit="steps", stream=stream)
    bar.update(2, note="loss 1.2345, a note that is too long")
    bar.tell("train: started again")
    first, second = "train: 2/100 steps, 20 s a step", "train: started again"
    assert stream.getvalue() == f"\r\x1b[K{first[:29]}\r\x1b[K{second}\n"


def test_a_log_may_be_json_with_the_job_in_it(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHAT_LOG", "json")
    job = {"metadata": {"job_submission_id": "run-7"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    stream = io.StringIO()
    with Progress("train", total=300, unit="steps", stream=stream) as bar:
        clock.now = 6
        bar.update(60, note="loss 1.23")
        bar.tell("train: started again")
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all(datetime.fromisoformat(record.pop("time")).tzinfo for record in records)
    assert all(record.pop("job") == "run-7" and record.pop("stage") == "train" for record in records)
    counted = {"count": 60, "total": 300, "unit": "steps", "seconds": 6.0}
    assert records == [
        {**counted, "state": "running", "note": "loss 1.23"},
        {"note": "train: started again"},
        {**counted, "state": "done", "note": None},
    ]


def test_a_terminal_gets_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHAT_LOG", "json")
    stream = Terminal()
    with Progress("clean", total=1, unit="pages", stream=stream):
        pass
    assert "{" not in stream.getvalue()


def test_what_is_said_beside_progress_is_json_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress.say("loading model")
    assert capsys.readouterr().err == "loading model\n"
    monkeypatch.setenv("OCHAT_LOG", "json")
    progress.say("\nochat-ray train: interrupted.")
    record = json.loads(capsys.readouterr().err)
    assert record.pop("time") and record == {"job": None, "note": "ochat-ray train: interrupted."}
