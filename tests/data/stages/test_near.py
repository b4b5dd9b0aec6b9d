"""The stage of near-duplicates, from shards to clusters, also where nothing is like anything."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ochat_ray.config import DataConfig
from ochat_ray.conversation import Conversation, Message
from ochat_ray.data.dedup.near import Member
from ochat_ray.data.records import part_table
from ochat_ray.data.stages import near
from ochat_ray.data.stages.distinct import write_shard
from ochat_ray.data.stages.job import Job
from tests.data.stages.jobs import job, target

CONFIG = DataConfig.model_validate({"near_duplicates": {"action": "drop"}, "filters": {"models": []}})
SHARD = pa.table({"shard": [0]})


def talk(id: str, question: str, answer: str) -> Conversation:
    return Conversation(id, f"{id}.html", (Message("user", question), Message("assistant", answer)))


def members(work: Job, *records: Conversation) -> list[Member]:
    write_shard(part_table(records), 0, work)
    near.write_pairs(near.pairs_in(near.bands_of(SHARD, work)), work)
    near.candidates_of(SHARD, work)
    near.join_clusters(SHARD, work)
    return near.members_of(work, 0)


@pytest.mark.parametrize(
    "records",
    [
        (),
        (
            talk("a", "What is the capital of France?", "Paris, of course."),
            talk("b", "How do I bake bread?", "Mix flour and water, then wait."),
        ),
    ],
)
def test_where_nothing_is_alike_there_are_no_clusters(
    records: tuple[Conversation, ...], tmp_path: Path
) -> None:
    assert members(job(tmp_path, CONFIG), *records) == []


@pytest.mark.parametrize(
    ("long", "limit", "best"), [("drop", 640, "a"), ("drop", 800, "b"), ("split", 640, "b")]
)
def test_the_longest_that_fits_stands_for_what_is_alike(
    long: str, limit: int, best: str, tmp_path: Path
) -> None:
    text = " ".join(f"word{i}" for i in range(80))
    records = (talk("a", "Go on.", text), talk("b", "Go on now.", text + "!" * 100))
    config = DataConfig.model_validate({**CONFIG.model_dump(), "long_conversations": long})
    found = members(job(tmp_path, config, target(max_tokens=limit)), *records)
    assert [(one.best_id, one.group, one.size) for one in found] == [(best, "a", 2)] * 2
