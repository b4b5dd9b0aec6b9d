"""The output folder: what may be filled, gone on with or taken as finished. Without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ochat_ray.data.workspace import filling, open_output
from ochat_ray.errors import DataError
from ochat_ray.manifest import write_manifest
from ochat_ray.storage import storage


def facts(kind: str = "prepared", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "source": "/in", "recipe": {"name": "a", "data": {"x": 1}}, **more}


def test_what_only_titles_the_report_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = storage(tmp_path)
    renamed = facts(source="/moved", recipe={"name": "b", "data": {"x": 1}})
    with filling(folder, facts(), {"one": "1"}, []):
        pass
    with filling(folder, renamed, {"one": "1"}, []):
        pass
    assert "difference" not in capsys.readouterr().err
    write_manifest(folder, {}, facts())
    assert open_output(folder, renamed) is not None
    with pytest.raises(DataError, match=r"a difference in data.x \(1, now 2\)"):
        open_output(folder, facts(recipe={"name": "a", "data": {"x": 2}}))


def test_an_unfinished_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = storage(tmp_path)
    with filling(folder, facts("packed"), {"one": "1"}, []):
        pass
    with pytest.raises(DataError, match="an unfinished run fills it with packed, not prepared data"):
        open_output(folder, facts())
    assert open_output(folder, facts("packed")) is None


def test_what_an_unfinished_run_over_other_inputs_made_is_removed(tmp_path: Path) -> None:
    folder = storage(tmp_path)
    with filling(folder, facts("packed"), {"pack": "1"}, ["pages"]) as work:
        folder.write("pages/00000-00000.parquet", b"old")
        folder.write(f"{work['pack']}/00000.json", b"{}")
    with filling(folder, facts("packed", inputs="x"), {"pack": "2"}, ["pages"]):
        assert not folder.exists("pages")
