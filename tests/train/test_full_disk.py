"""A disk that fills up costs checkpoints, and is told; nothing half-written stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ochat_ray.config import TrainConfig
from ochat_ray.train.checkpoint import Checkpoints
from ochat_ray.train.snapshot import Cursor
from ochat_ray.train.strategies import Strategy, make_strategy

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that holds one checkpoint of the tiny model, and not two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def cursor(step: int) -> Cursor:
    return Cursor(step=step, epoch=0, updates=step, plan_hash="plan")


def test_the_checkpoint_before_stays_and_is_gone_on_from(base: Path, disk: Path) -> None:
    def start() -> tuple[Strategy, Checkpoints]:
        config = TrainConfig()
        cpu = torch.device("cpu")
        strategy = make_strategy(config, base, cpu, torch.float32, accumulate=1)
        return strategy, Checkpoints(str(disk / "checkpoints"), keep=2)

    strategy, checkpoints = start()
    assert checkpoints.save(strategy, cursor(1)) is None
    assert checkpoints.save(strategy, cursor(2)) is None  # of the first, which was written
    problem = checkpoints.wait()
    assert problem is not None
    assert problem.startswith("step 2: the checkpoint could not be written: ")
    assert problem.endswith("No space left on device")
    assert [path.name for path in (disk / "checkpoints").iterdir()] == ["step-00000001"]
    strategy, checkpoints = start()
    assert checkpoints.resume(strategy, "plan") == (cursor(1), [])
