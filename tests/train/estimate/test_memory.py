"""Memory by strategy, and the settings that make it fit."""

from __future__ import annotations

from typing import Any

import pytest

from ochat_ray.config import TrainConfig
from ochat_ray.train.estimate.memory import checkpoint_bytes, find_memory, host_bytes, state
from ochat_ray.train.estimate.model import Model
from ochat_ray.train.estimate.remedies import find_remedies
from ochat_ray.train.gpus import GIB
from tests.train.models import PUBLISHED

LARGE = 80 * GIB


def train_config(**settings: Any) -> TrainConfig:
    return TrainConfig(**{"num_workers": 8, "bins_per_step": 8, **settings})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Published models on GPUs."""
    found = {}
    for name in ("LLaMA-7B", "LLaMA-13B", "StarCoderPlus", "Llama-3-70B"):
        folder = tmp_path_factory.mktemp("model")
        PUBLISHED[name][0].save_pretrained(folder)
        found[name] = Model.of(folder, train_config(), gpu=True)
    return found


def bytes_of(config: TrainConfig, model: Model) -> float:
    own = state(config, model)
    return own.weights + own.gradients + own.optimizer


@pytest.mark.parametrize("strategy", ["fsdp2", "zero1", "zero2", "zero3"])
def test_full_state_is_16_bytes_a_parameter(models: dict[str, Model], strategy: str) -> None:
    alone = train_config(num_workers=1, bins_per_step=1, strategy=strategy)
    assert bytes_of(alone, models["LLaMA-7B"]) == 16 * 6_738_415_616  # 108 GB


def test_strategies_divide_more_and_more(models: dict[str, Model]) -> None:
    model = models["LLaMA-13B"]
    parameters = model.size.parameters
    each = {
        strategy: bytes_of(train_config(strategy=strategy), model) / parameters
        for strategy in ("zero1", "zero2", "zero3", "fsdp2")
    }
    assert each == {
        "zero1": 2 + 2 + 12 / 8,
        "zero2": 2 + (2 + 12) / 8,
        "zero3": 16 / 8,
        "fsdp2": 16 / 8,
    }


def test_more_bins_a_worker_take_no_more(models: dict[str, Model]) -> None:
    once, often = (find_memory(train_config(bins_per_step=bins), models["LLaMA-13B"]) for bins in (8, 64))
    assert once == often


@pytest.mark.parametrize("strategy", ["fsdp2", "zero1", "zero2", "zero3"])
def test_offload_moves_state_to_the_host_and_loses_none(models: dict[str, Model], strategy: str) -> None:
    model = models["LLaMA-13B"]
    here, there = (train_config(strategy=strategy, cpu_offload=offload) for offload in (False, True))
    assert host_bytes(here, model) == 0
    memory = find_memory(there, model)
    held = memory.weights + memory.gradients + memory.optimizer
    assert memory.optimizer == 0
    assert held + host_bytes(there, model) == pytest.approx(bytes_of(here, model))
    assert (memory.weights == 0) == (strategy in ("fsdp2", "zero3"))


def test_adapters_train_little(models: dict[str, Model]) -> None:
    model = models["LLaMA-7B"]
    config = train_config(lora={"rank": 8, "train_embeddings": False})
    # Rank 8 on seven linear layers of each of 32 layers: the count that peft prints.
    assert model.trainable(config) == 19_988_480
    assert state(config, model).optimizer == 8 * 19_988_480 / 8
    with_tables = config.replace(lora={"rank": 8})
    assert model.trainable(with_tables) == 19_988_480 + 2 * 32000 * 4096


def test_the_parts_add_up_and_activations_grow_with_tokens(models: dict[str, Model]) -> None:
    model = models["LLaMA-13B"]
    small, large = (find_memory(train_config(max_tokens=tokens), model) for tokens in (2048, 8192))
    assert large.activations == 4 * small.activations
    assert small.total > sum((small.weights, small.gradients, small.optimizer, small.activations))
    recomputed = find_memory(train_config(max_tokens=8192, activation_checkpointing=True), model)
    assert recomputed.activations < large.activations / 10
    assert recomputed.weights == large.weights


def test_a_checkpoint_holds_weights_and_moments(models: dict[str, Model]) -> None:
    model = models["LLaMA-13B"]
    assert checkpoint_bytes(train_config(), model) == 12 * model.size.parameters
    assert checkpoint_bytes(train_config(strategy="zero3"), model) == 12 * model.size.parameters


def test_every_single_setting_that_helps_is_named(models: dict[str, Model]) -> None:
    config = train_config(max_tokens=8192)
    found = find_remedies(config, models["LLaMA-13B"], longest=2000, room=LARGE)
    settings = [remedy.settings for remedy in found]
    assert settings[0] == ("train.activation_checkpointing=true",)
    assert all(
        len(names) == 1 and remedy.bytes <= LARGE for names, remedy in zip(settings, found, strict=True)
    )
    (tokens,) = (int(name.split("=")[1]) for (name,) in settings if name.startswith("train.max_tokens="))
    assert 2000 <= tokens < 8192 and tokens % 64 == 0
    larger = config.replace(max_tokens=tokens + 256)
    assert find_memory(larger, models["LLaMA-13B"]).total > LARGE  # no more was taken than needed


def test_workers_are_added_so_that_none_waits(models: dict[str, Model]) -> None:
    config = train_config(strategy="zero1", bins_per_step=48, activation_checkpointing=True)
    found = find_remedies(config, models["StarCoderPlus"], longest=2000, room=LARGE)
    assert ("train.strategy=zero2",) in [remedy.settings for remedy in found]
    assert ("train.num_workers=16",) in [remedy.settings for remedy in found]


def test_settings_that_help_only_together(models: dict[str, Model]) -> None:
    config = train_config(max_tokens=8192)
    (remedy,) = find_remedies(config, models["Llama-3-70B"], longest=2000, room=LARGE)
    assert remedy.settings == ("train.cpu_offload=true", "train.activation_checkpointing=true")
    assert remedy.bytes <= LARGE


def test_nothing_makes_a_large_model_fit_a_small_gpu(models: dict[str, Model]) -> None:
    assert find_remedies(train_config(), models["Llama-3-70B"], longest=2000, room=8 * GIB) == []
