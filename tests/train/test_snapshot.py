"""Which checkpoints are whole, and which are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from ochat_ray.storage import storage
from ochat_ray.train.snapshot import Cursor, close, damage, facts, names, opened, prune, written_by


def write(folder: Path, step: int, eval_loss: float | None = None) -> Cursor:
    cursor = Cursor(step=step, epoch=0, updates=step, plan_hash="plan", dtype="float32", eval_loss=eval_loss)
    below = folder / cursor.name
    below.mkdir(parents=True)
    (below / "__0_0.distcp").write_bytes(b"first")
    (below / "__1_0.distcp").write_bytes(b"")
    (below / ".metadata").write_bytes(b"where")
    files = {path.name: facts(path) for rank in (0, 1) for path in written_by(below, rank)}
    assert sorted(files) == [".metadata", "__0_0.distcp", "__1_0.distcp"]
    close(storage(folder), cursor, files)
    return cursor


def test_a_closed_checkpoint_says_what_it_holds(tmp_path: Path) -> None:
    cursor = write(tmp_path, 7, 1.5)
    found, files = opened(storage(tmp_path), cursor.name)
    assert found == cursor
    assert all(damage(tmp_path / cursor.name, name, files[name]) is None for name in files)


def test_what_happened_to_a_file_is_told(tmp_path: Path) -> None:
    cursor = write(tmp_path, 7)
    file = tmp_path / cursor.name / "__0_0.distcp"
    files = opened(storage(tmp_path), cursor.name)[1]

    def told() -> str | None:
        return damage(file.parent, file.name, files[file.name])

    file.write_bytes(b"firsT")
    assert told() == "__0_0.distcp has other bytes than were written"
    file.write_bytes(b"fir")
    assert told() == "__0_0.distcp has 3 bytes, not 5"
    file.unlink()
    assert told() == "__0_0.distcp is missing"


def test_a_folder_that_was_not_closed_is_none(tmp_path: Path) -> None:
    cursor = write(tmp_path, 7)
    closing = tmp_path / cursor.name / "checkpoint.json"
    closing.write_text("{}")
    with pytest.raises(ValueError, match="lacks 'cursor'"):
        opened(storage(tmp_path), cursor.name)
    closing.unlink()
    with pytest.raises(OSError):
        opened(storage(tmp_path), cursor.name)


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, loss in ((100, 3.0), (10, float("nan")), (20, 1.0), (30, None), (40, 2.0)):
        write(tmp_path, step, loss)
    (tmp_path / "step-00000050").mkdir()
    (tmp_path / "step-00000050" / "__0_0.distcp").touch()  # never closed
    prune(storage(tmp_path), keep=2)
    assert names(storage(tmp_path)) == ["step-00000100", "step-00000040", "step-00000020"]
