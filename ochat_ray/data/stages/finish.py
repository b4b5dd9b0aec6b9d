"""Stage 4: shards to the files of the prepared folder."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ochat_ray.data.facts import Counts
from ochat_ray.data.report.schema import start
from ochat_ray.data.shard import finish
from ochat_ray.data.split import place_of
from ochat_ray.data.stages.distinct import shard_name
from ochat_ray.data.stages.job import Job, read_table, write_table
from ochat_ray.data.stages.near import members_of
from ochat_ray.manifest import file_facts, json_bytes

MAP_CHARS = 2000  # of a conversation that is placed on the map


def finish_shards(shards: pa.Table, job: Job) -> pa.Table:
    """Write the files of shards (column `shard`), and then what to say of them; returns their sizes, and how
    many were turned away by reason."""
    counts = [_finish_shard(number, job) for number in shards["shard"].to_pylist()]
    rejected = pa.array([list(one["rejected"].items()) for one in counts], pa.map_(pa.string(), pa.int64()))
    return pa.table({"documents": [one["documents"] for one in counts], "rejected": rejected})


def _finish_shard(number: int, job: Job) -> Counts:
    rows = read_table(job.output, job.path("distinct", f"{shard_name(number)}.parquet"))
    members = {member.key: member for member in members_of(job, number)}
    finished = finish(rows, members, job.targets, job.config)
    part = f"part-{number:05}-of-{job.shards:05}"
    files = {}
    for folder, table in finished.tables.items():
        name = f"{folder}/{part}.parquet"
        files[name] = file_facts(write_table(job.output, name, table))
    for folder, data in finished.tokens.items():
        name = f"{folder}/{part}.arrow"
        job.output.write(name, data)
        files[name] = file_facts(data)
    facts = {
        "files": files,
        "counts": finished.counts,
        "spread": finished.spread,
        "points": _points(finished.tables["clean"], job.points),
    }
    job.output.write(job.path("finish", f"{shard_name(number)}.json"), json_bytes(facts))
    return {name: finished.counts[name] for name in ("documents", "rejected")}


def _points(clean: pa.Table, share: float) -> list[dict[str, Any]]:
    """What is needed of a share of the conversations to put them on the report's map."""
    wanted = pa.array([place_of(id) < share for id in clean["id"].to_pylist()], pa.bool_())
    points = []
    for row in clean.filter(wanted).to_pylist():
        spoken = [message["content"] for message in row["messages"] if message["role"] != "system"]
        text = "\n".join(content[:MAP_CHARS] for content in spoken)[:MAP_CHARS]
        facts = {name: row[name] for name in ("id", "model", "language")}
        points.append({**facts, "question": start(spoken[0]), "answer": start(spoken[1]), "text": text})
    return points
