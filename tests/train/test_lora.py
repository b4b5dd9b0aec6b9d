"""Adapters: only they are trained, and an export with them merged is the model that was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTBigCodeConfig,
    PretrainedConfig,
    Qwen2Config,
)

from ochat_ray.config import LoraConfig, TrainConfig
from ochat_ray.errors import ConfigError
from ochat_ray.template import ChatTemplate
from ochat_ray.train.export import write_model
from ochat_ray.train.strategies import Strategy, make_strategy
from tests.train.test_fsdp2 import batches, losses_of

pytestmark = pytest.mark.usefixtures("alone")
peft = pytest.importorskip("peft", reason="needs the extra lora")


def config_of(**lora: Any) -> TrainConfig:
    return TrainConfig(lora=LoraConfig(rank=4, **lora))


def strategy_of(base: Path, config: TrainConfig) -> Strategy:
    return make_strategy(config, base, torch.device("cpu"), torch.float32, accumulate=2)


def test_adapters_start_as_nothing_and_learn(base: Path) -> None:
    full = strategy_of(base, TrainConfig())
    strategy = strategy_of(base, config_of(train_embeddings=False))
    losses = losses_of(strategy, 4)
    assert losses[0] == pytest.approx(losses_of(full, 1)[0], abs=1e-6)
    assert losses[3] < losses[0]
    trained = {name for name, _ in strategy.trained()}
    assert trained and all("lora_" in name for name in trained)
    assert any("embed" in name for name, _ in strategy_of(base, config_of()).trained())


def test_a_merged_export_is_the_trained_model(base: Path, template: ChatTemplate, tmp_path: Path) -> None:
    config = config_of()
    strategy = strategy_of(base, config)
    losses_of(strategy, 3)
    write_model(strategy, base, tmp_path / "merged", config, template)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert {name for name, _ in merged.named_parameters()} == load_file(
        tmp_path / "merged/model.safetensors"
    ).keys()
    compare(strategy, merged)


SMALL = {"vocab_size": 400, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
SHAPE = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
BIASED: dict[str, PretrainedConfig] = {
    "gpt_bigcode": GPTBigCodeConfig(**SMALL),
    "gpt2": GPT2Config(**SMALL),
    "qwen2": Qwen2Config(**SHAPE, num_attention_heads=4, num_key_value_heads=2),
}


@pytest.mark.parametrize("name", BIASED)
def test_layers_with_biases_and_turned_weights_are_merged_too(
    name: str, template: ChatTemplate, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(BIASED[name]).save_pretrained(tmp_path / "base")
    config = config_of()
    strategy = strategy_of(tmp_path / "base", config)
    losses = losses_of(strategy, 3)
    assert losses[2] < losses[0]
    write_model(strategy, tmp_path / "base", tmp_path / "merged", config, template)
    compare(strategy, AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval())


def test_an_exported_adapter_is_what_peft_loads(base: Path, template: ChatTemplate, tmp_path: Path) -> None:
    config = config_of(export="adapter")
    strategy = strategy_of(base, config)
    losses_of(strategy, 3)
    write_model(strategy, base, tmp_path / "adapter", config, template)
    assert not (tmp_path / "adapter/model.safetensors").exists()
    plain = AutoModelForCausalLM.from_pretrained(base)
    compare(strategy, peft.PeftModel.from_pretrained(plain, tmp_path / "adapter"))


def compare(strategy: Strategy, model: Any) -> None:
    batch = batches()[0]
    ids = batch.input_ids_T[: batch.cu_seqlens[1]]
    with torch.no_grad():
        ours = strategy.model.logits(batch)[: len(ids)]
        theirs = model(input_ids=ids[None]).logits[0]
    strategy.evaluated()
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_modules_that_are_not_there_are_named(base: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.lora\.targets = \['query_key'\]: .*not found"):
        strategy_of(base, config_of(targets=("query_key",)))
