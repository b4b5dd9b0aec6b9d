"""A job whose stages can be run one by one, without Ray."""

from __future__ import annotations

import json
from pathlib import Path

from ochat_ray.config import DataConfig
from ochat_ray.data.filters import Questions
from ochat_ray.data.stages.job import Job
from ochat_ray.data.targets import Target
from ochat_ray.model_types import load_model_type
from ochat_ray.storage import storage
from tests.tokenizers import byte_level

STAGES = ("split", "clean", "distinct", "near", "finish")
TOKENIZER = byte_level(["<s>", "</s>", "<|end_of_turn|>"], bos="<s>")


def target(name: str = "openchat", max_tokens: int = 2048) -> Target:
    """A model type over a tokenizer whose tokens are bytes."""
    return Target(load_model_type(name), max_tokens, json.dumps(TOKENIZER.spec), "<s>")


def job(folder: Path, config: DataConfig, *targets: Target, shards: int = 1) -> Job:
    """A job that reads from and writes to `folder`."""
    place = storage(folder)
    stages = {stage: f".work/{stage}" for stage in STAGES}
    return Job(place, place, stages, config, Questions.NONE, targets or (target(),), shards=shards)
