"""Models put together from config and weight files are those that transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    GPTBigCodeConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen3Config,
)

from ochat_ray.config import TrainConfig
from ochat_ray.errors import CheckpointError
from ochat_ray.train.model import build, check_weights, parameters, restore_buffers
from ochat_ray.train.weights import Weights

SHAPE = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SHAPE, **HEADS),
    "llama-yarn": LlamaConfig(**SHAPE, **HEADS, rope_parameters=YARN),
    "mistral": MistralConfig(**SHAPE, **HEADS),
    "qwen3": Qwen3Config(**SHAPE, **HEADS, head_dim=8),
    "gemma-tied": GemmaConfig(**SHAPE, **HEADS, head_dim=8),
    "phi3": Phi3Config(**SHAPE, **HEADS, pad_token_id=0),
    "gpt2-tied": GPT2Config(vocab_size=61, n_embd=32, n_layer=2, n_head=4),
    "gpt_bigcode-tied": GPTBigCodeConfig(vocab_size=61, n_embd=32, n_layer=2, n_head=4),
}


def saved(folder: Path, config: PretrainedConfig) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_made_without_memory_becomes_the_saved_one(tmp_path: Path, name: str) -> None:
    saved(tmp_path, CONFIGS[name])
    with torch.device("meta"):
        model = build(tmp_path, TrainConfig())
    model.to_empty(device="cpu")
    for buffer in model.buffers():
        buffer.fill_(7)  # whatever was in the memory
    restore_buffers(model)
    weights = Weights(tmp_path)
    check_weights(model, weights)
    with torch.no_grad():
        for key, weight in parameters(model):
            weight.copy_(weights.read(key))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    expected, found = dict(loaded.named_buffers()), dict(model.hf.named_buffers())
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    ids = torch.arange(20)[None]
    assert model.hf.training
    torch.testing.assert_close(model.plain_logits(ids[0]), loaded(ids).logits[0], atol=1e-5, rtol=1e-5)


def test_rows_of_a_tensor_are_read_by_themselves(tmp_path: Path) -> None:
    whole = saved(tmp_path, CONFIGS["llama"]).lm_head.weight
    weights = Weights(tmp_path)
    assert weights.shape("lm_head.weight") == whole.shape
    assert torch.equal(weights.rows("lm_head.weight", 10, 21), whole[10:21])
    assert len(weights.rows("lm_head.weight", 61, 61)) == 0


def test_missing_and_misshapen_weights_are_named(tmp_path: Path) -> None:
    saved(tmp_path, CONFIGS["llama"])
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    model = build(tmp_path, TrainConfig())
    save_file({key: value for key, value in tensors.items() if "layers.1.mlp" not in key}, file)
    with pytest.raises(CheckpointError, match=r"3 weights of LlamaForCausalLM are missing, such as model\."):
        check_weights(model, Weights(tmp_path))
    save_file({**tensors, "lm_head.weight": torch.zeros(60, 32)}, file)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight is 60 x 32, but config\.json wants 61 x 32"):
        check_weights(model, Weights(tmp_path))


def test_a_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    saved(tmp_path, CONFIGS["llama"])
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cut short"):
        Weights(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors"):
        Weights(tmp_path)
