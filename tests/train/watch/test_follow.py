"""Going along with a run: what is told, and that it is drawn however it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ochat_ray.config import Recipe
from ochat_ray.train import log
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch import follow, page
from tests.train.watch.runs import skipped_line, start, step_line, write

Run = Callable[[], object]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def watch(folders: Folders, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], object]:
    """Follow a run of six steps, looking often."""
    monkeypatch.setattr(follow, "POLL_S", 0.02)
    alone = recipe.replace(train=recipe.train.replace(epochs=3))
    return lambda run: follow.follow(run, folders, alone, steps=6, waiting=lambda: None)


def look() -> None:
    time.sleep(0.2)


def test_why_nothing_goes_on_is_told(
    folders: Folders, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow, "WAITING_S", 0.0)
    placed = threading.Event()

    def waiting() -> str:
        placed.set()
        return "waiting for 8 workers"

    assert follow.follow(lambda: placed.wait(60), folders, recipe, steps=1, waiting=waiting)
    assert "train: waiting for 8 workers\n" in capsys.readouterr().err


def test_a_restart_and_a_step_left_out_are_told(
    watch: Callable[[Run], object], folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> str:
        look()
        start(folders, 0)
        write(folders, range(1, 4))
        log.append(folders.losses, [skipped_line(4, ["a", "b", "c", "d"])])
        look()
        start(folders, 2, workers=1)
        write(folders, range(3, 7))
        look()
        return "done"

    assert watch(run) == "done"
    told = capsys.readouterr().err.splitlines()
    assert "train: started again from the last checkpoint, at step 2, with 1 worker" in told
    assert f"train: curves in {folders.page}" == told[-1]
    assert any(line.startswith("train: 6/6 steps") for line in told)
    assert "2</strong>" not in folders.page.read_text() and "all of the run" in folders.page.read_text()


def test_a_step_left_out_names_its_conversations(
    watch: Callable[[Run], object], folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        look()
        start(folders, 0)
        log.append(folders.losses, [step_line(1), skipped_line(2, ["a", "b", "c", "d"]), step_line(3)])
        look()

    watch(run)
    told = capsys.readouterr().err
    assert (
        "train: step 2 left out (loss is nan); its conversations: a, b, c and 1 more, see losses.jsonl\n"
        in told
    )
    assert told.count("left out") == 1


def test_a_later_command_says_where_it_goes_on_and_not_what_was_before(
    watch: Callable[[Run], object], folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    start(folders, 0)
    log.append(folders.losses, [step_line(1), skipped_line(2, ["a"]), step_line(3), step_line(4)])

    def run() -> None:
        look()
        start(folders, 3, workers=4)
        write(folders, range(4, 7))
        look()

    watch(run)
    told = capsys.readouterr().err
    assert "train: goes on from step 3, with 4 workers\n" in told
    assert "left out" not in told and "started again" not in told


def test_a_run_that_fails_is_drawn_too(
    watch: Callable[[Run], object], folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        start(folders, 0)
        write(folders, range(1, 3))
        raise RuntimeError("all workers lost")

    with pytest.raises(RuntimeError, match="all workers lost"):
        watch(run)
    assert "of 6<" in folders.page.read_text()
    assert f"train: curves in {folders.page}\n" in capsys.readouterr().err


def test_a_page_that_cannot_be_drawn_costs_one_line(
    watch: Callable[[Run], object],
    folders: Folders,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(page.Logs, "load", lambda _folders: 1 / 0)
    assert watch(lambda: "done") == "done"
    assert f"train: {folders.page} could not be written (division by zero)\n" in capsys.readouterr().err
