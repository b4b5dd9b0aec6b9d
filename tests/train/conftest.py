"""A tiny base model, its template, and conversations to train on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ochat_ray.config import Recipe, load_recipe
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.base import make_tiny
from ochat_ray.train.run import TrainResult, train
from tests.train.prepared import write_prepared

SMALL = [
    "base.vocab_size=400",
    "base.hidden_size=32",
    "base.intermediate_size=64",
    "base.layers=2",
    "train.num_workers=2",
    "train.epochs=5",
    "train.max_tokens=128",
    "train.bins_per_step=4",
    "train.checkpoint.every_steps=5",
    "train.learning_rate=1e-2",
]


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """A run of a few seconds."""
    return load_recipe("tiny-cpu", SMALL)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> Path:
    """A tiny base model."""
    folder = tmp_path_factory.mktemp("train") / "base"
    make_tiny(folder, recipe)
    return folder


@pytest.fixture(scope="session")
def template(base: Path, recipe: Recipe) -> ChatTemplate:
    """The template over the base model's tokenizer."""
    return ChatTemplate(load_model_type(recipe.model_type), ChatTokenizer.load(base))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, template: ChatTemplate) -> Path:
    """A prepared folder of conversations of different lengths, some of several turns."""
    folder = tmp_path_factory.mktemp("train") / "data"
    conversations = [
        [f"What is {n}?", "It is " + "so " * (n % 7) + str(n), "Sure?", "Yes"][: 2 + 2 * (n % 2)]
        for n in range(72)
    ]
    write_prepared(folder, template, conversations, conversations[:3])
    return folder


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    data: Path,
    base: Path,
    recipe: Recipe,
    ray_cluster: None,  # noqa: ARG001  (where it runs)
) -> TrainResult:
    """An undisturbed run with two workers by FSDP2, which others are held against."""
    return train(data, base, tmp_path_factory.mktemp("run") / "out", recipe)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of this process alone, for what workers do beside Ray."""
    import torch.distributed as dist

    meeting = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()
