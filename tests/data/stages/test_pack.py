"""Packing: files of a bounded size, whatever the pages come in."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.units import whole
from ochat_ray.data.stages import pack
from ochat_ray.manifest import file_facts
from ochat_ray.storage import read, storage


def test_a_big_archive_becomes_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "GROUP_BYTES", 400)
    pages = {f"{i:02}.html": os.urandom(150) for i in range(50)}
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in {**pages, "readme.txt": b"", "b.json": b"{}"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    found = find_inputs([str(tmp_path / "a.tar")])
    out = storage(tmp_path / "out")
    job = pack.PackJob(found.folder, out, ".work/pack", file_bytes=1000)
    unit = pa.table({"shard": [3], "unit": [pickle.dumps((whole(found.files[0]),))]})
    told = sum(row["bytes"] for table in pack.pack_shards(unit, job) for row in table.to_pylist())
    assert told == (tmp_path / "a.tar").stat().st_size
    mark = job.done(3)
    assert mark["pages"] == 50 and mark["ignored"] == 2 and mark["rejected"] == []
    assert list(mark["files"]) == [f"pages/00003-{i:05}.parquet" for i in range(8)]
    assert all(file_facts(read(out, name)) == facts for name, facts in mark["files"].items())
    tables = [pq.read_table(tmp_path / "out" / name) for name in mark["files"]]
    assert [table.num_rows for table in tables] == [7] * 7 + [1]
    rows = pa.concat_tables(tables).to_pylist()
    assert {row["source"].rpartition("/")[2]: row["page"] for row in rows} == pages
