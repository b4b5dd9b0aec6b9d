"""The first stage: units to parts, whose size is bounded in documents and in bytes."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ochat_ray.config import load_recipe
from ochat_ray.data.filters import Questions
from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.units import whole
from ochat_ray.data.stages import clean
from ochat_ray.data.stages.job import Job
from ochat_ray.storage import storage

RECORDS = [
    {
        "id": str(i),
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "x" * size}],
    }
    for i, size in enumerate([10, 10, 10, 5000, 10, 3000, 3000, 10])
]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.parquet"])
def test_a_part_ends_at_its_documents_or_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean, "PART_DOCUMENTS", 3)
    monkeypatch.setattr(clean, "PART_BYTES", 5000)
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / name)
    else:
        lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
        (tmp_path / name).write_bytes(gzip.compress(lines.encode()))
    found = find_inputs([str(tmp_path / name)])
    stages = {stage: f".work/{stage}" for stage in ("split", "clean")}
    config = load_recipe("openchat").data
    job = Job(found.folder, storage(tmp_path / "out"), stages, config, Questions.NONE, ())
    units = pa.table({"unit": [pickle.dumps((whole(found.files[0]),))]})
    done = [row["documents"] for table in clean.clean_units(units, job) for row in table.to_pylist()]
    assert done == [3, 1, 3, 1, 0]
    parts = sorted((tmp_path / "out/.work/clean").glob("*.parquet"))
    assert [pq.read_metadata(part).num_rows for part in parts] == [3, 1, 3, 1]
