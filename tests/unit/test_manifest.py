"""A folder is finished when its manifest says so and its files are all there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ochat_ray.errors import DataError
from ochat_ray.manifest import manifest_hash, read_manifest, write_manifest, writing

REMEDY = "`ochat-ray prepare`"


def test_round_trip_and_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    written = write_manifest(tmp_path, [tmp_path / "a"], {"kind": "test"})
    assert read_manifest(tmp_path, remedy=REMEDY) == written
    assert written["files"]["a"]["bytes"] == 1
    before = manifest_hash(written)
    again = write_manifest(tmp_path, [tmp_path / "a"], {"kind": "other facts"})
    assert manifest_hash(again) == before
    (tmp_path / "a").write_text("2")
    assert manifest_hash(write_manifest(tmp_path, [tmp_path / "a"], {})) != before


def test_unfinished_missing_and_damaged_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"never finished; run `ochat-ray prepare` again"):
        read_manifest(tmp_path, remedy=REMEDY)
    with pytest.raises(DataError, match="no such folder; make it with `ochat-ray prepare`"):
        read_manifest(tmp_path / "none", remedy=REMEDY)
    file = tmp_path / "a"
    file.write_text("1234")
    write_manifest(tmp_path, [file], {})
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
