"""Which conversations of many are looked at."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ochat_ray.storage import Storage

Row = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """`number` conversations: those with `id`, those rejected for `rejected` (empty: for anything), at random
    by `seed`, or the first."""

    number: int = 3
    id: str | None = None
    rejected: str | None = None
    seed: int | None = None


class Chosen(NamedTuple):
    """A row, and the file it is in."""

    file: str
    row: Row


def rows(folder: Storage, files: Sequence[str], choice: Choice) -> Iterator[Chosen]:
    """The chosen rows of Parquet or Arrow files."""
    ordered = list(files)
    chance = random.Random(choice.seed)
    if choice.seed is not None:
        chance.shuffle(ordered)
    found = (Chosen(name, row) for name in ordered for row in _chosen(_read(folder, name), choice, chance))
    # All rows of an id are shown: a split conversation has several.
    return found if choice.id is not None else islice(found, choice.number)


def _read(folder: Storage, name: str) -> pa.Table:
    with folder.open(name) as file:
        if name.endswith(".arrow"):
            return pa.Table.from_batches([pa.ipc.open_file(file).get_batch(0)])
        return pq.ParquetFile(file).read()


def _chosen(table: pa.Table, choice: Choice, chance: random.Random) -> Iterator[Row]:
    if choice.id is not None:
        table = table.filter(pc.equal(table["id"], choice.id))
    if choice.rejected:
        table = table.filter(pc.equal(table["reason"], choice.rejected))
    order = list(range(table.num_rows))
    if choice.seed is not None:
        chance.shuffle(order)
    for index in order:  # one by one: most are never looked at
        yield table.slice(index, 1).to_pylist()[0]
