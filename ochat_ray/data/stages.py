"""What the workers do: a chunk of pages to a part, and the partitions of all parts to finished files.

Everything is written whole in one step and depends on nothing but its input: doing it again, after a
crash or at the same time, changes nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ochat_ray import columns
from ochat_ray.config import DataConfig
from ochat_ray.conversation import Conversation, Rejected
from ochat_ray.data.clean import clean_page
from ochat_ray.data.partition import finish
from ochat_ray.data.records import PART, part_table
from ochat_ray.errors import CheckpointError
from ochat_ray.manifest import write_json, writing
from ochat_ray.model_types import ModelType
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer

FOLDERS = ("conversations", "rejected", *(f"tokens/{split}" for split in columns.SPLITS))


@dataclass(frozen=True)
class Job:
    """What every task needs to know: folders of pages, output and work, and how to judge and render."""

    pages: Path
    output: Path
    work: Path
    plan: str
    base: Path
    model_type: ModelType
    tokenizer_hash: str
    config: DataConfig
    max_tokens: int


def clean_chunk(chunk: pa.Table, job: Job) -> pa.Table:
    """Clean the pages of one row (`part`: file to write, `pages`: paths); returns how many there were."""
    [row] = chunk.to_pylist()
    records = [_clean_file(job, path) for path in row["pages"]]
    write_table(part_table(records), job.work / row["part"])
    kept = sum(isinstance(record, Conversation) for record in records)
    return pa.table({"pages": [len(records)], "conversations": [kept]})


def read_part(parts: pa.Table, job: Job, finished: frozenset[int]) -> pa.Table:
    """The rows of the parts named in column `part`, with their partition, but for finished partitions."""
    rows = pa.concat_tables(pq.read_table(job.work / name, schema=PART) for name in parts["part"].to_pylist())
    numbers = [int(text[:8], 16) % job.config.partitions for text in rows["hash"].to_pylist()]
    rows = rows.append_column("partition", pa.array(numbers, pa.int32()))
    return rows.filter(pa.array([number not in finished for number in numbers], pa.bool_()))


def finish_block(rows: pa.Table, job: Job) -> pa.Table:
    """Finish every partition in a block, which holds each of its partitions whole; returns their sizes."""
    if rows.num_rows == 0:
        return pa.table({"partition": pa.array([], pa.int32()), "pages": pa.array([], pa.int64())})
    numbers = sorted(set(rows["partition"].to_pylist()))
    mine = [rows.filter(pc.equal(rows["partition"], number)).select(PART.names) for number in numbers]
    for number, table in zip(numbers, mine, strict=True):
        finish_partition(table, number, job)
    sizes = [table.num_rows for table in mine]
    return pa.table({"partition": pa.array(numbers, pa.int32()), "pages": pa.array(sizes, pa.int64())})


def finish_partition(rows: pa.Table, number: int, job: Job) -> None:
    """Write the files of one partition and then its counts, which mark it as finished."""
    finished = finish(
        rows, _template(job.base, job.model_type, job.tokenizer_hash), job.config, job.max_tokens
    )
    for folder, table in finished.tables.items():
        write_table(table, job.output / folder / f"part-{number:05}-of-{job.config.partitions:05}.parquet")
    write_json(counts_file(job.work, job.plan, number), finished.counts)


def counts_file(work: Path, plan: str, number: int) -> Path:
    """Where the counts of a finished partition lie: workers of a killed run of another plan cannot meddle."""
    return work / f"finished-{plan[:16]}-{number:05}.json"


@lru_cache(maxsize=2)
def _template(base: Path, model_type: ModelType, tokenizer_hash: str) -> ChatTemplate:
    """The renderer, loaded once in each process."""
    template = ChatTemplate(model_type, ChatTokenizer.load(base))
    if template.tokenizer.hash != tokenizer_hash:
        raise CheckpointError(
            f"{base}: the tokenizer changed during the run, or differs between nodes; start again"
        )
    return template


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file atomically."""
    with writing(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def _clean_file(job: Job, path: bytes) -> Conversation | Rejected:
    # Names of files are bytes: those that are no UTF-8 are shown with the bytes escaped.
    name = path.decode(errors="backslashreplace")
    try:
        page = (job.pages / os.fsdecode(path)).read_bytes()
    except OSError as error:
        return Rejected(Path(name).stem, name, "not_text", f"cannot be read: {error.strerror}")
    return clean_page(page, name, job.config)
