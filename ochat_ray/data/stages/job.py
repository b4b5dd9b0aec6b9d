"""What every task needs to know, and how tasks keep their results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ochat_ray.config import DataConfig
from ochat_ray.data.filters import Questions
from ochat_ray.data.targets import Target
from ochat_ray.errors import DataError, OchatError
from ochat_ray.storage import Storage, read

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One preparation: where it reads and writes, and how it judges and renders.

    Once all documents are counted, `shards` is how many there are, and `points` the share of conversations
    that are on the report's map.
    """

    source: Storage
    output: Storage
    stages: Mapping[str, str]
    config: DataConfig
    questions: Questions
    targets: tuple[Target, ...]
    shards: int = 0
    points: float = 0.0

    def path(self, stage: str, name: str) -> str:
        """Where a stage keeps something, below the output."""
        return f"{self.stages[stage]}/{name}"

    def done(self, stage: str, name: str) -> Any:
        """What a stage wrote as JSON under a name; None where it has not."""
        try:
            return json.loads(read(self.output, self.path(stage, name)))
        except OSError:
            return None


class StageError(DataError):
    """What a user can mend, met by a worker. Ray Data adds to the arguments of others."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line

    def __str__(self) -> str:
        return self.line

    def __reduce__(self) -> tuple[type[StageError], tuple[str]]:
        return StageError, (self.line,)


def told(table: pa.Table, stage: Callable[..., Any], **arguments: Any) -> Iterator[pa.Table]:
    """What a stage makes of a table, one table or many. Raises StageError for what a user can mend."""
    try:
        made = stage(table, **arguments)
        yield from made if isinstance(made, Iterator) else [made]
    except OchatError as error:
        raise StageError(str(error)) from None
    except OSError as error:
        if error.filename is None:
            raise
        remedy = "mend that and run the same command again"
        raise StageError(f"{error.filename}: {error.strerror}; {remedy}") from None


def shard_of(text_hash: str, shards: int) -> int:
    """The shard of a text by its hash, hex."""
    return int(text_hash[:8], 16) % shards


def write_table(storage: Storage, path: str, table: pa.Table) -> pa.Buffer:
    """Write a Parquet file whole; returns its bytes."""
    out = pa.BufferOutputStream()
    pq.write_table(table, out, compression="zstd")
    data = out.getvalue()
    storage.write(path, data)
    return data


def read_table(storage: Storage, path: str, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file."""
    with storage.open(path) as file:
        return pq.ParquetFile(file).read(columns=columns)


def runs(items: Iterable[T], number: int, size: int, size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in lists that end at a `number` of them, or where they come to `size` or more."""
    run: list[T] = []
    total = 0
    for item in items:
        run.append(item)
        total += size_of(item)
        if len(run) == number or total >= size:
            yield run
            run, total = [], 0
    if run:
        yield run
