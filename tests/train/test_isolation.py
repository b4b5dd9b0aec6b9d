"""Conversations of a pack do not see each other, and a model in which they do is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPTBigCodeConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PretrainedConfig,
)

from ochat_ray.errors import CheckpointError
from ochat_ray.train import attention
from ochat_ray.train.batch import PackedBatch, pack_lists
from ochat_ray.train.isolation import check_isolation
from ochat_ray.train.model import PackedModel

CPU = torch.device("cpu")
SHAPE = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SHAPE, **HEADS),
    "mistral": MistralConfig(**SHAPE, **HEADS, sliding_window=None),
    "mistral-window": MistralConfig(**SHAPE, **HEADS, sliding_window=4),
    "gpt_bigcode": GPTBigCodeConfig(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "gpt_bigcode-heads": GPTBigCodeConfig(
        vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=64, multi_query=False
    ),
}


def packed_model(config: PretrainedConfig, **loading: Any) -> PackedModel:
    torch.manual_seed(0)
    attention.register()
    return PackedModel(AutoModelForCausalLM.from_config(config, **loading).eval())


@pytest.mark.parametrize("name", CONFIGS)
def test_packed_logits_are_those_of_each_conversation_alone(name: str) -> None:
    model = packed_model(CONFIGS[name], attn_implementation=attention.NAME)
    lengths = (7, 1, 12, 3)
    ids = [torch.randint(61, (length,)) for length in lengths]
    batch = pack_lists([i.tolist() for i in ids], [[1.0] * len(i) for i in ids])
    with torch.no_grad():
        packed = model.logits(batch)
        alone = torch.cat([model.plain_logits(i) for i in ids])
    assert packed.abs().max() > 0.01
    torch.testing.assert_close(packed, alone, atol=2e-6, rtol=1e-4)
    check_isolation(model, CPU, torch.float32)


def test_a_model_with_a_state_along_the_sequence_is_refused() -> None:
    config = MambaConfig(vocab_size=61, hidden_size=32, num_hidden_layers=2, state_size=4)
    model = PackedModel(AutoModelForCausalLM.from_config(config).eval())
    with pytest.raises(CheckpointError, match=r"MambaForCausalLM: .*apart"):
        check_isolation(model, CPU, torch.float32)


def test_a_model_that_loses_the_borders_is_refused() -> None:
    class Leaks(PackedModel):
        def logits(self, batch: PackedBatch) -> torch.Tensor:
            whole: torch.Tensor = self.hf(input_ids=batch.input_ids_T[None], use_cache=False).logits[0]
            return whole

    torch.manual_seed(0)
    attention.register()
    hf = AutoModelForCausalLM.from_config(CONFIGS["llama"], attn_implementation=attention.NAME)
    with pytest.raises(CheckpointError, match=r"LlamaForCausalLM: .*apart"):
        check_isolation(Leaks(hf.eval()), CPU, torch.float32)


def test_attention_with_capped_logits_is_refused() -> None:
    config = Gemma2Config(**SHAPE, **HEADS, head_dim=8)
    model = packed_model(config, attn_implementation=attention.NAME)
    with pytest.raises(CheckpointError, match=r"Gemma2ForCausalLM: attention with capped logits"):
        check_isolation(model, CPU, torch.bfloat16)


def test_a_head_with_ways_of_its_own_is_not_called_a_leak() -> None:
    config = CohereConfig(**SHAPE, **HEADS, logit_scale=0.25)
    model = packed_model(config, attn_implementation=attention.NAME)
    with pytest.raises(CheckpointError, match=r"CohereForCausalLM: its logits are not those that"):
        check_isolation(model, CPU, torch.float32)


def test_a_model_that_fails_on_packs_is_refused_by_name() -> None:
    class Fails(PackedModel):
        def logits(self, batch: PackedBatch) -> torch.Tensor:
            raise AttributeError("no last_hidden_state", batch)

    torch.manual_seed(0)
    attention.register()
    hf = AutoModelForCausalLM.from_config(CONFIGS["llama"], attn_implementation=attention.NAME)
    with pytest.raises(
        CheckpointError, match=r"LlamaForCausalLM: cannot be computed in packs \(.*no last_hid"
    ):
        check_isolation(Fails(hf), CPU, torch.float32)
