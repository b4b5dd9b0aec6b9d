"""Stage 3, by choice: which of the conversations that are kept so far differ in little.

All of them are by wanted models: the others were turned away before.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ochat_ray.data.dedup.near import (
    KEY,
    PAIRS,
    SKETCH,
    Candidate,
    Member,
    band_table,
    candidate_pairs,
    clusters,
    key_of,
    pairs_table,
    sketches,
)
from ochat_ray.data.records import messages
from ochat_ray.data.render import teach
from ochat_ray.data.stages.distinct import shard_name
from ochat_ray.data.stages.job import Job, read_table, shard_of, write_table
from ochat_ray.manifest import json_bytes

PAIRS_FILE = "pairs.parquet"
NO_PAIRS = PAIRS.empty_table()
CANDIDATES = pa.schema(
    [
        ("id", pa.string()),
        ("key", KEY),
        ("chars", pa.int64()),
        ("useless", pa.bool_()),  # too long for every model type, or without anything to learn
        ("sketch", pa.binary()),
    ]
)
MEMBERS = pa.schema(
    [("key", KEY), ("best", KEY), ("best_id", pa.string()), ("group", pa.string()), ("size", pa.int64())]
)


def bands_of(shards: pa.Table, job: Job) -> pa.Table:
    """The bands of the conversations in shards (column `shard`)."""
    tables = []
    for number in shards["shard"].to_pylist():
        rows = _kept(job, number)
        keys = [key_of(text) for text in rows["hash"].to_pylist()]
        tables.append(band_table(keys, _texts(rows), job.config.near_duplicates))
    return pa.concat_tables(tables)


def pairs_in(bands: pa.Table) -> pa.Table:
    """Pairs to compare among bands that are whole in a block."""
    return candidate_pairs(bands) if bands.num_rows else NO_PAIRS


def write_pairs(pairs: pa.Table, job: Job) -> pa.Table:
    """Write all pairs, each once. Takes all of them in one block; returns how many there are."""
    columns = (pairs[side].to_pylist() for side in ("a", "b"))
    found = pairs_table(sorted(set(zip(*columns, strict=True))))
    write_table(job.output, job.path("near", PAIRS_FILE), found)
    return pa.table({"pairs": [found.num_rows]})


def candidates_of(shards: pa.Table, job: Job) -> pa.Table:
    """Write what is compared of the candidates in shards (column `shard`); returns how many there are."""
    pairs = read_table(job.output, job.path("near", PAIRS_FILE))
    wanted = pc.unique(pa.chunked_array([*pairs["a"].chunks, *pairs["b"].chunks], KEY))
    counts = []
    for number in shards["shard"].to_pylist():
        rows = _kept(job, number)
        keys = pa.array([key_of(text) for text in rows["hash"].to_pylist()], KEY)
        mask = pc.is_in(keys, value_set=wanted)
        rows, keys = rows.filter(mask), keys.filter(mask)
        sketched = sketches(_texts(rows), job.config.near_duplicates)
        useful = teach(rows.to_pylist(), job.targets, job.config)
        table = pa.table(
            {
                "id": rows["id"],
                "key": keys,
                "chars": rows["chars"],
                "useless": [not one for one in useful],
                "sketch": [row.tobytes() for row in sketched],
            },
            schema=CANDIDATES,
        )
        write_table(job.output, job.path("near", f"candidates/{shard_name(number)}.parquet"), table)
        counts.append(table.num_rows)
    return pa.table({"candidates": counts})


def join_clusters(_: pa.Table, job: Job) -> pa.Table:
    """Compare all pairs and write the clusters, shard by shard; returns how many members they have.

    One task does it: a candidate takes about a kilobyte, so a worker of 16 GB holds more than ten million.
    """
    pairs = read_table(job.output, job.path("near", PAIRS_FILE))
    shards = range(job.shards)
    names = [job.path("near", f"candidates/{shard_name(number)}.parquet") for number in shards]
    table = pa.concat_tables([read_table(job.output, name) for name in names])
    columns = (table[name].to_pylist() for name in ("useless", "chars", "id", "key"))
    candidates = [Candidate(bad, -size, id, key) for bad, size, id, key in zip(*columns, strict=True)]
    sketches_NS = np.frombuffer(b"".join(table["sketch"].to_pylist()), np.uint8).reshape(-1, SKETCH)
    ends = list(zip(pairs["a"].to_pylist(), pairs["b"].to_pylist(), strict=True))
    found = clusters(candidates, sketches_NS, ends, job.config.near_duplicates.jaccard)
    by_shard: dict[int, list[Member]] = {}
    for member in found:
        by_shard.setdefault(shard_of(member.key.hex(), job.shards), []).append(member)
    for number in shards:
        rows = [member._asdict() for member in by_shard.get(number, [])]
        members = pa.Table.from_pylist(rows, schema=MEMBERS)
        write_table(job.output, job.path("near", f"members/{shard_name(number)}.parquet"), members)
    job.output.write(job.path("near", "done.json"), json_bytes({"members": len(found)}))
    return pa.table({"members": [len(found)]})


def members_of(job: Job, number: int) -> list[Member]:
    """The near-duplicates in a shard, where they were looked for."""
    if job.config.near_duplicates.action == "off":
        return []
    table = read_table(job.output, job.path("near", f"members/{shard_name(number)}.parquet"))
    return [Member(**row) for row in table.to_pylist()]


def _kept(job: Job, number: int) -> pa.Table:
    rows = read_table(job.output, job.path("distinct", f"{shard_name(number)}.parquet"))
    return rows.filter(rows["reason"].is_null())


def _texts(rows: pa.Table) -> list[str]:
    return ["\n".join(m.content for m in messages(row)) for row in rows.select(["messages"]).to_pylist()]
