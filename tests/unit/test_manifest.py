"""A folder is finished when its manifest says so and its files are all there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.errors import DataError
from ochat_ray.manifest import file_facts, manifest_hash, read_manifest, write_manifest
from ochat_ray.storage import leftovers, lock_file, storage, sweep, writing

REMEDY = "`ochat-ray prepare`"


def close(folder: Path, facts: dict[str, str]) -> dict[str, Any]:
    return write_manifest(storage(folder), {"a": file_facts((folder / "a").read_bytes())}, facts)


def test_round_trip_and_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    written = close(tmp_path, {"kind": "test"})
    assert read_manifest(tmp_path, remedy=REMEDY) == written
    assert written["files"]["a"]["bytes"] == 1
    before = manifest_hash(written)
    assert manifest_hash(close(tmp_path, {"kind": "other facts"})) == before
    (tmp_path / "a").write_text("2")
    assert manifest_hash(close(tmp_path, {})) != before


def test_unfinished_missing_and_damaged_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"never finished; run `ochat-ray prepare` again"):
        read_manifest(tmp_path, remedy=REMEDY)
    with pytest.raises(DataError, match="no such folder; make it with `ochat-ray prepare`"):
        read_manifest(tmp_path / "none", remedy=REMEDY)
    file = tmp_path / "a"
    file.write_text("1234")
    close(tmp_path, {})
    file.write_text("12")
    with pytest.raises(DataError, match=r"a: has 2 bytes, not 4; run `ochat-ray prepare` again"):
        read_manifest(tmp_path, remedy=REMEDY)
    file.unlink()
    with pytest.raises(DataError, match="a: is missing"):
        read_manifest(tmp_path, remedy=REMEDY)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pytest.raises(RuntimeError), writing(target) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with writing(target) as aside:
        aside.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_writer_left_is_found(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from ochat_ray.storage import writing\n"
        "with writing(Path(sys.argv[1])) as aside: aside.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=False)
    assert leftovers(tmp_path / "other") == []
    (left,) = leftovers(tmp_path / "file")
    assert left.read_text() == "half" and not (tmp_path / "file").exists()
    write_manifest(storage(tmp_path), {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_files_that_only_look_like_leftovers_stay(tmp_path: Path) -> None:
    names = {".hidden", ".x.12", ".x.12-0badcafe.txt", "x.12-0badcafe", ".12-0badcafe"}
    for name in names:
        (tmp_path / name).write_text("")
    sweep(storage(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_lock_is_held_by_one_and_freed_by_the_end_of_its_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ochat_ray.storage import lock_file\n"
        "lock = lock_file(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert lock_file(tmp_path / "lock") is None
        holder.kill()
    lock = lock_file(tmp_path / "lock")
    assert lock is not None
    lock.close()
