"""What packing says before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from ochat_ray.data.pack import pack
from ochat_ray.errors import DataError


def test_what_is_left_out_is_named_by_an_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.html", "b.csv", "c.jsonl"):
        (tmp_path / name).write_text("x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="is not empty"):
        pack([tmp_path], tmp_path / "out")
    assert capsys.readouterr().err == "left out, as no pages or not looked at: 2 files, such as b.csv\n"
