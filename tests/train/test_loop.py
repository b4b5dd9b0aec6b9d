"""When a worker wants a checkpoint, an end, or to ask whether its node will go."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ochat_ray.config import TrainConfig
from ochat_ray.train import loop
from ochat_ray.train.folders import Folders
from ochat_ray.train.loop import Worker


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as its only entry."""
    now = [1000.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    return now


def worker_of(folder: Path, *, first: bool = True, **checkpoint: object) -> Worker:
    """As much of a worker as its wishes need."""
    worker = object.__new__(Worker)
    worker.config = TrainConfig.model_validate({"checkpoint": checkpoint})
    worker.folders, worker.device, worker.first = Folders(folder), torch.device("cpu"), first
    worker.saved_at = worker.asked_at = 1000.0
    worker.preempted = worker.saved_for_preemption = False
    return worker


def wishes(worker: Worker, step: int) -> tuple[bool, bool, bool]:
    checkpoint, stop, ask = (bool(wish) for wish in worker._wishes(step))
    return checkpoint, stop, ask


def test_a_checkpoint_is_due_by_time_and_by_steps(tmp_path: Path, clock: list[float]) -> None:
    worker = worker_of(tmp_path, every_minutes=10, every_steps=7)
    assert [wishes(worker, step)[0] for step in range(14)] == [step in (6, 13) for step in range(14)]
    clock[0] += 601
    assert wishes(worker, 0)[0]
    assert not wishes(worker_of(tmp_path, first=False, every_steps=1), 0)[0]  # the first worker decides


def test_a_file_stops_the_run(tmp_path: Path, clock: list[float]) -> None:  # noqa: ARG001
    worker = worker_of(tmp_path)
    assert not wishes(worker, 0)[1]
    (tmp_path / "stop").touch()
    assert wishes(worker, 0)[1]


def test_a_notice_of_preemption_saves_once(tmp_path: Path, clock: list[float]) -> None:
    worker = worker_of(tmp_path, first=False)
    assert wishes(worker, 0) == (False, False, False)
    worker.preempted = True
    assert [wishes(worker, step)[0] for step in (1, 2, 3)] == [True, False, False]
    asking = worker_of(tmp_path)
    found = []
    for step in range(3):
        clock[0] += loop.ASK_S * 0.7
        found.append(wishes(asking, step)[2])
    assert found == [False, True, False]
