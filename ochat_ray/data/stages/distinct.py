"""Stage 2: all copies of a text come into one shard, where the best of them is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ochat_ray.config import DataConfig
from ochat_ray.data.dedup.exact import Rank, best_copies
from ochat_ray.data.filters.basic import model_not_wanted
from ochat_ray.data.filters.reason import Reason
from ochat_ray.data.records import PART, ordered
from ochat_ray.data.render import teach
from ochat_ray.data.stages.job import Job, read_table, shard_of, write_table
from ochat_ray.data.targets import Target
from ochat_ray.manifest import json_bytes


def shard_name(number: int) -> str:
    """What a shard is called in every stage."""
    return f"{number:05}"


def read_parts(parts: pa.Table, job: Job, finished: frozenset[int]) -> pa.Table:
    """The rows of the parts named in column `part`, with their shard, but for shards that are finished."""
    tables = [_with_shards(name, job) for name in parts["part"].to_pylist()]
    rows = pa.concat_tables(tables)
    return rows.filter(pc.invert(pc.is_in(rows["shard"], pa.array(sorted(finished), pa.int32()))))


def write_shards(rows: pa.Table, job: Job) -> pa.Table:
    """Judge and write every shard in a block, which holds each of its shards whole; returns their sizes."""
    for number, shard in _by_shard(rows):
        write_shard(shard, number, job)
    return pa.table({"documents": [rows.num_rows]})


def gather(parts: pa.Table, job: Job, finished: frozenset[int]) -> Iterator[pa.Table]:
    """What a shuffle does, in one task: for inputs that take less time than Ray's shuffle takes to start.

    Appends the rows of each part to files by shard, so that one part is in memory at a time, and the files
    compressed; then judges and writes each shard. Yields their sizes.
    """
    files: dict[int, tuple[pa.BufferOutputStream, pq.ParquetWriter]] = {}
    for name in parts["part"].to_pylist():
        for number, rows in _by_shard(_with_shards(name, job)):
            if number in finished:
                continue
            if number not in files:
                out = pa.BufferOutputStream()
                files[number] = out, pq.ParquetWriter(out, PART, compression="zstd")
            files[number][1].write_table(rows)
    for number in sorted(files):
        out, writer = files.pop(number)
        writer.close()
        rows = pq.read_table(pa.BufferReader(out.getvalue()))
        write_shard(rows, number, job)
        yield pa.table({"documents": [rows.num_rows]})


def _with_shards(part: str, job: Job) -> pa.Table:
    rows = read_table(job.output, job.path("clean", part))
    shards = [shard_of(text, job.shards) for text in rows["hash"].to_pylist()]
    return rows.append_column("shard", pa.array(shards, pa.int32()))


def _by_shard(rows: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each shard, without its number."""
    for number in sorted(set(rows["shard"].to_pylist())):
        yield number, rows.filter(pc.equal(rows["shard"], number)).select(PART.names).cast(PART)


def write_shard(rows: pa.Table, number: int, job: Job) -> None:
    """Write one shard, copies and unwanted models turned away, and then its mark."""
    table = judged(rows, job.targets, job.config)
    write_table(job.output, job.path("distinct", f"{shard_name(number)}.parquet"), table)
    kept = pc.sum(table["reason"].is_null()).as_py() or 0
    job.output.write(
        job.path("distinct", f"{shard_name(number)}.json"),
        json_bytes({"documents": table.num_rows, "kept": kept}),
    )


def judged(rows: pa.Table, targets: Sequence[Target], config: DataConfig) -> pa.Table:
    """Rows of PART that hold every copy of each of their texts, with a reason for all but the best copies.

    Where no copy is by a wanted model, each is turned away for its own.
    """
    models = config.filters.models
    rows = ordered(rows)
    # Only what is judged by becomes Python objects: messages are most of the table.
    reasons, details = rows["reason"].to_pylist(), rows["detail"].to_pylist()
    columns = [rows[name].to_pylist() for name in ("hash", "model", "chars", "id", "source")]
    hashes, labels, sizes, ids, sources = columns
    understood = [index for index, reason in enumerate(reasons) if reason is None]
    useless = _useless(rows, [(i, hashes[i]) for i in understood], targets, config)
    ranks = [
        Rank(model_not_wanted(labels[i], models) is not None, i in useless, -sizes[i], ids[i], sources[i])
        for i in understood
    ]
    for index, best in zip(understood, best_copies([hashes[i] for i in understood], ranks), strict=True):
        winner = understood[best]
        reason = model_not_wanted(labels[winner], models)
        if reason is not None:
            reason = model_not_wanted(labels[index], models)
        elif winner != index:
            reason = Reason("duplicate", f"the same text as {ids[winner]}")
        if reason is not None:
            reasons[index], details[index] = reason
    for name, values in (("reason", reasons), ("detail", details)):
        rows = rows.set_column(PART.get_field_index(name), PART.field(name), pa.array(values, pa.string()))
    return rows


def _useless(
    rows: pa.Table, copies: Sequence[tuple[int, str]], targets: Sequence[Target], config: DataConfig
) -> frozenset[int]:
    """Rows from which nothing can be learnt, among copies (row, hash) that are not the same byte for byte.

    White space takes tokens, so that one may fit where another does not.
    """
    times = Counter(text for _, text in copies)
    several = [row for row, text in copies if times[text] > 1]
    found = rows.take(pa.array(several, pa.int64())).to_pylist()
    ways = Counter(text for text, _ in {(row["hash"], row["messages"]) for row in found})
    differing = [(row, copy) for row, copy in zip(several, found, strict=True) if ways[copy["hash"]] > 1]
    useful = teach([copy for _, copy in differing], targets, config)
    return frozenset(row for (row, _), good in zip(differing, useful, strict=True) if not good)
