"""Running training in the background, and taking its processes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ochat_ray.config import Recipe
from ochat_ray.train import log

DRIVER = """
import sys
from pathlib import Path
from ochat_ray.config import Recipe
from ochat_ray.runtime import cluster
from ochat_ray.train.run import train
with cluster(min_cpus=4):
    train(*map(Path, sys.argv[1:4]), Recipe.model_validate_json(sys.argv[4]))
"""


def start_driver(data: Path, base: Path, output: Path, recipe: Recipe) -> subprocess.Popen[str]:
    """A run in a process and on a cluster of its own."""
    words = [str(data), str(base), str(output), recipe.model_dump_json()]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # What a test run in the background ignores, its children would.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


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
