"""Packing: the pages of a unit to Parquet files of a bounded size."""

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
from ochat_ray.data.read.documents import Document, Ignored, documents
from ochat_ray.data.read.units import Unit
from ochat_ray.manifest import file_facts, json_bytes
from ochat_ray.storage import Storage, read

FOLDER = "pages"  # of the output, for all files
GROUP_BYTES = 8 * 2**20  # of pages in a row group, which is what a reader holds, and a task is cut by


@dataclass(frozen=True)
class PackJob:
    """Where pages are read, where files and marks are written, and how many bytes of pages fill a file."""

    source: Storage
    output: Storage
    work: str
    file_bytes: int

    def mark(self, number: int) -> str:
        """Where it is kept what became of a unit."""
        return f"{self.work}/{number:05}.json"

    def done(self, number: int) -> dict[str, Any]:
        """What became of a unit."""
        found: dict[str, Any] = json.loads(read(self.output, self.mark(number)))
        return found


def pack_shards(shards: pa.Table, job: PackJob) -> Iterator[pa.Table]:
    """Pack units (column `unit`, pickled, with `shard`); yields bytes read, file by file."""
    for row in shards.to_pylist():
        unit: Unit = pickle.loads(row["unit"])
        yield from _pack_shard(row["shard"], unit, job)


def _pack_shard(number: int, unit: Unit, job: PackJob) -> Iterator[pa.Table]:
    mark: dict[str, Any] = {"pages": 0, "ignored": 0, "rejected": [], "files": {}}
    file = _File()
    told = before = 0

    def keep() -> None:
        name, data = f"{FOLDER}/{number:05}-{len(mark['files']):05}.parquet", file.close()
        job.output.write(name, data)
        mark["files"][name] = file_facts(data)

    for piece in unit:
        for found, position in documents(job.source, piece):
            if isinstance(found, Rejected):
                mark["rejected"].append([found.source, found.reason, found.detail])
            elif isinstance(found, Ignored) or not found.page:
                mark["ignored"] += 1
            else:
                mark["pages"] += 1
                file.add(found)
            if file.size >= job.file_bytes:
                keep()
                file = _File()
            if before + position - told >= GROUP_BYTES:
                yield pa.table({"bytes": [before + position - told]})
                told = before + position
        before += piece.bytes
    if file.size:
        keep()
    job.output.write(job.mark(number), json_bytes(mark))
    yield pa.table({"bytes": [before - told]})


class _File:
    """A Parquet file in the making, a row group after the other; `size` are the bytes of its pages."""

    def __init__(self) -> None:
        self.size = 0
        self._out = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._out, PAGES, compression="zstd", use_dictionary=False)
        self._waiting: list[Document] = []
        self._written = 0

    def add(self, page: Document) -> None:
        self._waiting.append(page)
        self.size += len(page.content)
        if self.size - self._written >= GROUP_BYTES:
            self._write()

    def close(self) -> pa.Buffer:
        self._write()
        self._writer.close()
        return self._out.getvalue()

    def _write(self) -> None:
        columns = {"source": [p.source for p in self._waiting], "page": [p.content for p in self._waiting]}
        if self._waiting:
            self._writer.write_table(pa.table(columns, schema=PAGES))
        self._waiting = []
        self._written = self.size
