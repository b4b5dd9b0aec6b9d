"""Running training in the background, and taking its processes away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ochat_ray.train import log

T = TypeVar("T")


def wait_for(found: Callable[[], T], *, what: str, seconds: float = 120) -> T:
    """The first true value of `found`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {seconds} s")


def registered_step(output: Path) -> int:
    """The step of the last whole checkpoint, from which a restart goes on; 0 before the first."""
    closed = (output / "checkpoints").glob("step-*/checkpoint.json")
    return max((int(path.parent.name.removeprefix("step-")) for path in closed), default=0)


def attempts(output: Path) -> list[dict[str, int]]:
    """Where each start of the workers began, and how many they were."""
    return log.read(output / "attempts.jsonl")


def last_step(output: Path) -> int:
    """Steps logged so far."""
    return max((entry["step"] for entry in log.read(output / "losses.jsonl")), default=0)


def training_workers(ancestor: int) -> list[int]:
    """Process ids of the Ray Train workers below a process."""
    parents, workers = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            title = (folder / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if title.startswith("ray::RayTrainWorker"):
            workers.append(int(folder.name))

    def below(process: int) -> bool:
        while process not in (0, ancestor):
            process = parents.get(process, 0)
        return process == ancestor

    return sorted(filter(below, workers))


def kill_one_worker() -> None:
    """SIGKILL one of this process's Ray Train workers."""
    os.kill(training_workers(os.getpid())[-1], signal.SIGKILL)


def stop_at(step: int, output: Path) -> None:
    """Ask a run to stop once it has logged a step, as an interrupted driver does."""
    wait_for(lambda: last_step(output) >= step, what=f"step {step}")
    (output / "stop").touch()
