"""Checkpoints of one worker: of the moment they are begun, and none where the disk is full."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ochat_ray.config import TrainConfig
from ochat_ray.errors import CheckpointError
from ochat_ray.storage import storage
from ochat_ray.train.checkpoint import Checkpoints
from ochat_ray.train.snapshot import Cursor, names
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
    return Cursor(step=step, epoch=0, updates=step, plan_hash="plan", dtype="float32")


def start(base: Path, folder: Path | str) -> tuple[Strategy, Checkpoints]:
    cpu = torch.device("cpu")
    strategy = make_strategy(TrainConfig(), base, cpu, torch.float32, accumulate=1)
    return strategy, Checkpoints(str(folder), keep=2)


def test_an_object_store_keeps_them_too(
    bucket: str, base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = f"{bucket}/checkpoints"
    strategy, checkpoints = start(base, place)
    for step in (1, 2, 3):
        checkpoints.save(strategy, cursor(step))
    assert checkpoints.wait() is None
    assert names(storage(place)) == ["step-00000003", "step-00000002"]
    before = {name: strategy.whole(weight).clone() for name, weight in strategy.named()}
    storage(place).write("step-00000003/__0_0.distcp", b"cut short")
    again, checkpoints = start(base, place)
    with torch.no_grad():
        for _, weight in again.named():
            weight.fill_(7)
    found, problems = checkpoints.resume(again, "plan", "float32")
    assert found == cursor(2)
    assert len(problems) == 1 and "step-00000003 is not used: __0_0.distcp has 9 bytes" in problems[0]
    assert all(torch.equal(before[name], again.whole(weight)) for name, weight in again.named())
    assert not [*tmp_path.iterdir()]


def test_holds_what_was_there_when_it_was_begun(base: Path, tmp_path: Path) -> None:
    strategy, checkpoints = start(base, tmp_path)
    before = {name: strategy.whole(weight).clone() for name, weight in strategy.named()}
    checkpoints.save(strategy, cursor(1))
    with torch.no_grad():
        for _, weight in strategy.named():
            weight.zero_()
    assert checkpoints.wait() is None
    again, checkpoints = start(base, tmp_path)
    with torch.no_grad():
        for _, weight in again.named():
            weight.fill_(7)
    assert checkpoints.resume(again, "plan", "float32") == (cursor(1), [])
    assert all(torch.equal(before[name], again.whole(weight)) for name, weight in again.named())


def test_another_plan_is_refused(base: Path, tmp_path: Path) -> None:
    strategy, checkpoints = start(base, tmp_path)
    checkpoints.save(strategy, cursor(1))
    assert checkpoints.wait() is None
    with pytest.raises(CheckpointError, match=r"step-00000001: belongs to another packing plan \(plan, not"):
        checkpoints.resume(strategy, "another", "float32")


def test_another_dtype_is_refused(base: Path, tmp_path: Path) -> None:
    strategy, checkpoints = start(base, tmp_path)
    checkpoints.save(strategy, cursor(1))
    assert checkpoints.wait() is None
    with pytest.raises(CheckpointError, match=r"in float32, and .* in bfloat16; set train\.dtype=float32"):
        checkpoints.resume(strategy, "plan", "bfloat16")


def test_what_else_lies_there_is_left_alone(base: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "step-by-step").mkdir()
    (tmp_path / "step-by-step" / "guide.txt").write_text("mine too")
    strategy, checkpoints = start(base, tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(strategy, cursor(step))
    assert checkpoints.wait() is None
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["precious.txt", "step-00000002", "step-00000003", "step-by-step"]
    assert checkpoints.resume(strategy, "plan", "float32") == (cursor(3), [])


def test_on_a_full_disk_the_one_before_stays_and_is_gone_on_from(base: Path, disk: Path) -> None:
    strategy, checkpoints = start(base, disk / "checkpoints")
    assert checkpoints.save(strategy, cursor(1)) is None
    assert checkpoints.save(strategy, cursor(2)) is None  # of the first, which was written
    problem = checkpoints.wait()
    assert problem is not None
    assert problem.startswith("step 2: the checkpoint could not be written: ")
    assert problem.endswith("No space left on device")
    assert [path.name for path in (disk / "checkpoints").iterdir()] == ["step-00000001"]
    strategy, checkpoints = start(base, disk / "checkpoints")
    assert checkpoints.resume(strategy, "plan", "float32") == (cursor(1), [])
