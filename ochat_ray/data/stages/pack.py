"""Packing: the pages of a unit to one Parquet file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ochat_ray.columns import PAGES
from ochat_ray.conversation import Rejected
from ochat_ray.data.read.documents import Ignored, documents
from ochat_ray.data.read.units import Unit
from ochat_ray.manifest import file_facts, json_bytes
from ochat_ray.storage import Storage, read

GROUP_BYTES = 8 * 2**20  # of pages in a row group, which is what a reader holds, and a task is cut by


@dataclass(frozen=True)
class PackJob:
    """Where pages are read, where their files and marks are written, and how many files there are."""

    source: Storage
    output: Storage
    work: str
    shards: int

    def mark(self, number: int) -> str:
        """Where it is kept what a file holds."""
        return f"{self.work}/{number:05}.json"

    def done(self, number: int) -> dict[str, Any]:
        """What a file holds."""
        found: dict[str, Any] = json.loads(read(self.output, self.mark(number)))
        return found


def file_name(number: int, shards: int) -> str:
    """The name of a packed file."""
    return f"pages-{number:05}-of-{shards:05}.parquet"


def pack_shards(shards: pa.Table, job: PackJob) -> Iterator[pa.Table]:
    """Pack units (column `unit`, pickled, with `shard`); yields bytes read, file by file."""
    for row in shards.to_pylist():
        unit: Unit = pickle.loads(row["unit"])
        yield from _pack_shard(row["shard"], unit, job)


def _pack_shard(number: int, unit: Unit, job: PackJob) -> Iterator[pa.Table]:
    mark: dict[str, Any] = {"pages": 0, "ignored": 0, "rejected": [], "files": {}}
    out = pa.BufferOutputStream()
    sources: list[str] = []
    pages: list[bytes] = []
    size = told = before = 0

    def flush() -> None:
        nonlocal size
        if pages:
            writer.write_table(pa.table({"source": sources, "page": pages}, schema=PAGES))
        mark["pages"] += len(pages)
        sources.clear()
        pages.clear()
        size = 0

    with pq.ParquetWriter(out, PAGES, compression="zstd", use_dictionary=False) as writer:
        for piece in unit:
            for found, position in documents(job.source, piece):
                if isinstance(found, Ignored):
                    mark["ignored"] += 1
                elif isinstance(found, Rejected):
                    mark["rejected"].append([found.source, found.reason, found.detail])
                elif not found.page:
                    mark["ignored"] += 1
                else:
                    assert isinstance(found.content, bytes)
                    sources.append(found.source)
                    pages.append(found.content)
                    size += len(found.content)
                if size >= GROUP_BYTES:
                    flush()
                    yield pa.table({"bytes": [before + position - told]})
                    told = before + position
            before += piece.bytes
        flush()
    name = file_name(number, job.shards)
    job.output.write(name, out.getvalue())
    mark["files"][name] = file_facts(out.getvalue())
    job.output.write(job.mark(number), json_bytes(mark))
    yield pa.table({"bytes": [before - told]})
