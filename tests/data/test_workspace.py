"""The output folder while it is filled: what is kept of earlier runs, and what is cleared away."""

from __future__ import annotations

from pathlib import Path

import pytest

from ochat_ray.data.workspace import filling
from ochat_ray.storage import storage

FACTS = {"kind": "prepared"}
OUTPUTS = ("clean", "report.html")


@pytest.mark.parametrize("digest", ["the same", "another"])
def test_what_killed_writers_left_is_cleared_away_wherever_it_is(digest: str, tmp_path: Path) -> None:
    output = storage(tmp_path / "out")
    with filling(output, FACTS, {"near": "n", "finish": "the same"}, OUTPUTS) as stages:
        output.write(f"{stages['finish']}/00000.json", b"{}")
        output.write("clean/part-00000-of-00001.parquet", b"whole")
    for name in (
        ".report.html.12-0badcafe",
        ".manifest.json.12-0badcafe",
        ".pages-00000-of-00001.parquet.12-0badcafe",
        "openchat/.openchat.train.json.4711-00000000",
        "tokens/openchat/.tokenizer.json.12-0badcafe",
        "clean/.part-00000-of-00001.parquet.12-0badcafe",
        f"{stages['near']}/candidates/.00000.parquet.12-0badcafe",
    ):
        output.write(name, b"half")
    with filling(output, FACTS, {"near": "n", "finish": digest}, OUTPUTS):
        left = {entry.path for entry in output.entries()} - {".work/plan.json", ".work/lock"}
    done = {f"{stages['finish']}/00000.json", "clean/part-00000-of-00001.parquet"}
    assert left == (done if digest == "the same" else set())
