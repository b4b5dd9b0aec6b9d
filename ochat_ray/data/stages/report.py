"""Stage 5: the report, and OpenChat's own files where they are wanted."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ochat_ray import columns
from ochat_ray.data.dedup.near import KEY, Member, key_of
from ochat_ray.data.facts import Counts, add_counts, histogram
from ochat_ray.data.reasons import MEANINGS, STEPS
from ochat_ray.data.records import messages
from ochat_ray.data.report import schema
from ochat_ray.data.report.map import place
from ochat_ray.data.report.page import render
from ochat_ray.data.split import place_of
from ochat_ray.data.stages.distinct import shard_name
from ochat_ray.data.stages.job import Job, read_table, shard_of
from ochat_ray.data.stages.near import members_of
from ochat_ray.data.targets import Target
from ochat_ray.data.tokens import openchat
from ochat_ray.manifest import file_facts, json_bytes, versions

NAME = "report.json"  # the mark of this stage
SEED = 42
MAX_POINTS = 2000
TITLE_NAMES = 3
CLUSTERS, SHOWN_MEMBERS = 12, 8  # near-duplicates to look at


def write_report(
    _: pa.Table, job: Job, facts: dict[str, Any], examples: tuple[schema.Example, ...]
) -> pa.Table:
    """Write `report.html` and `report.json`, and OpenChat's files; returns how many files there are."""
    report = make_report(job, facts, examples)
    files = {}
    for name, data in (("report.html", render(report).encode()), ("report.json", schema.to_json(report))):
        job.output.write(name, data)
        files[name] = file_facts(data)
    for target in job.targets:
        for split in columns.SPLITS:
            files |= _openchat_files(job, target, split)
    job.output.write(job.path("finish", NAME), json_bytes({"files": files}))
    return pa.table({"files": [len(files)]})


def make_report(job: Job, facts: dict[str, Any], examples: tuple[schema.Example, ...]) -> schema.Report:
    """What a preparation did, put together from what its shards say."""
    shards = [job.done("finish", f"{shard_name(number)}.json") for number in range(job.shards)]
    counts = add_counts(one["counts"] for one in shards)
    spread = add_counts(one["spread"] for one in shards)
    points = sorted(
        (point for one in shards for point in one["points"]), key=lambda p: (place_of(p["id"]), p["text"])
    )
    names = list(dict.fromkeys(PurePosixPath(source).name for source in facts["source"]))
    return schema.Report(
        title=title_of(names),
        input=", ".join(names),
        recipe=facts["recipe"]["name"],
        settings=yaml.safe_dump(facts["recipe"]["data"], sort_keys=False),
        versions=versions(),
        funnel=_funnel(counts),
        reasons={reason: MEANINGS[reason] for reason in counts["rejected"]},
        messages=histogram(spread["messages"]),
        chars=histogram(spread["chars"]),
        tokens=tuple(_tokens(target, job, counts, spread) for target in job.targets),
        models=tuple(schema.ModelCount(name=label or None, **n) for label, n in spread["models"].items()),
        languages=tuple(schema.LanguageCount(code=c, **n) for c, n in spread["languages"].items() if c),
        near_duplicates=_near_duplicates(job),
        examples=examples,
        map=_map(points[:MAX_POINTS], counts["kept"]),
    )


def title_of(names: list[str]) -> str:
    """The names of inputs, or the first few."""
    more = len(names) - TITLE_NAMES
    return ", ".join(names[:TITLE_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _funnel(counts: Counts) -> tuple[schema.Stage, ...]:
    left = counts["documents"]
    stages = [schema.Stage(stage="read", count=left)]
    for name, reasons in STEPS:
        dropped = {reason: counts["rejected"][reason] for reason in reasons if reason in counts["rejected"]}
        left -= sum(dropped.values())
        stages.append(schema.Stage(stage=name, count=left, dropped=dropped))
    return tuple(stages)


def _tokens(target: Target, job: Job, counts: Counts, spread: Counts) -> schema.Tokens:
    mine = counts["tokens"][target.name]
    return schema.Tokens(
        model_type=target.name,
        context=target.max_tokens,
        long=job.config.long_conversations,
        lengths=histogram(spread["lengths"][target.name]),
        train=schema.SplitTokens(**mine["train"]),
        eval=schema.SplitTokens(**mine["eval"]),
        lost=schema.LostTokens(**mine["lost"]),
    )


def _map(points: list[dict[str, Any]], kept: int) -> schema.Map | None:
    if not points:
        return None
    placed = place([point.pop("text") for point in points], SEED)
    found = zip(points, placed.x, placed.y, placed.topic, strict=True)
    shown = tuple(schema.Point(**point, x=x, y=y, topic=topic) for point, x, y, topic in found)
    return schema.Map(of=kept, points=shown, topics=tuple(placed.topics))


def _near_duplicates(job: Job) -> schema.NearDuplicates | None:
    action = job.config.near_duplicates.action
    if action == "off":
        return None
    clusters: dict[bytes, list[Member]] = {}
    for number in range(job.shards):
        for member in members_of(job, number):
            clusters.setdefault(member.best, []).append(member)
    by_size = sorted(clusters.values(), key=lambda members: (-len(members), members[0].group))[:CLUSTERS]
    largest = [sorted(members, key=lambda m: (m.key != m.best, m.key)) for members in by_size]
    shown = {member.key for members in largest for member in members[:SHOWN_MEMBERS]}
    texts = _conversations(job, sorted(shown))
    return schema.NearDuplicates(
        action=action,
        clusters=len(clusters),
        conversations=sum(map(len, clusters.values())),
        sizes=dict(sorted(Counter(map(len, clusters.values())).items())),
        largest=tuple(
            schema.Cluster(
                size=len(members),
                members=tuple(_member(m, texts[m.key], action) for m in members[:SHOWN_MEMBERS]),
            )
            for members in largest
        ),
    )


def _member(member: Member, row: dict[str, Any], action: str) -> schema.Member:
    turns = messages(row)
    return schema.Member(
        id=row["id"],
        model=row["model"],
        chars=row["chars"],
        kept=action == "group" or member.key == member.best,
        text=schema.start(next(turn.content for turn in turns if turn.role == "user")),
    )


def _conversations(job: Job, keys: list[bytes]) -> dict[bytes, dict[str, Any]]:
    """Rows of conversations by their keys."""
    found = {}
    wanted = pa.array(keys, KEY)
    for number in sorted({shard_of(key.hex(), job.shards) for key in keys}):
        table = read_table(job.output, job.path("distinct", f"{shard_name(number)}.parquet"))
        table = table.filter(table["reason"].is_null())
        own = pa.array([key_of(text) for text in table["hash"].to_pylist()], KEY)
        found.update({key_of(row["hash"]): row for row in table.filter(pc.is_in(own, wanted)).to_pylist()})
    return found


def _openchat_files(job: Job, target: Target, split: str) -> dict[str, Any]:
    """Write OpenChat's files of a split, made aside, as they are as large as all of its tokens."""
    stem = f"{target.name}.{split}"
    made: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        if "json" in job.config.openchat_files:
            made |= {name: Path(folder) / name for name in (f"{stem}.json", f"{stem}.text.json")}
            openchat.write_json(_rows(job, target, split), target.template(), *made.values())
        if "parquet" in job.config.openchat_files:
            made[f"{stem}.parquet"] = Path(folder) / f"{stem}.parquet"
            openchat.write_parquet(_rows(job, target, split), target.template(), made[f"{stem}.parquet"])
        files = {}
        for name, path in made.items():
            with pa.memory_map(str(path)) as mapped:
                data = mapped.read_buffer()
                job.output.write(f"openchat/{name}", data)
                files[f"openchat/{name}"] = file_facts(data)
    return files


def _rows(job: Job, target: Target, split: str) -> Iterator[openchat.Tokens]:
    for number in range(job.shards):
        name = f"tokens/{target.name}/{split}/part-{number:05}-of-{job.shards:05}.arrow"
        with job.output.open(name) as file, pa.ipc.open_file(file) as shard:
            yield from openchat.rows_of(shard.get_batch(0))
