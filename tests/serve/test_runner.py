"""Architectures: those the engine runs give generate's tokens, the others are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from ochat_ray.errors import CheckpointError
from ochat_ray.serve.engine.room import BLOCK, Room
from ochat_ray.serve.engine.runner import Runner
from ochat_ray.serve.engine.scheduler import Request, Scheduler
from tests.serve.conftest import llama
from tests.serve.test_engine import reference

SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def make(config: Any) -> Any:
    torch.manual_seed(1)
    return hf.AutoModelForCausalLM.from_config(config).eval()


def greedy(runner: Runner, prompts: list[list[int]], count: int) -> list[list[int]]:
    scheduler = Scheduler(Room(runner.cache.tokens), max_running=8, prefill_chunk=9)
    requests = [Request(key, list(p), len(p) + count) for key, p in enumerate(prompts)]
    for request in requests:
        scheduler.add(request)
    while scheduler.busy:
        step = scheduler.schedule()
        logits_RV = runner.run(step).logits_RV
        sampled = [work.request for work in step.work if work.samples]
        for request, token in zip(sampled, logits_RV.argmax(-1).tolist(), strict=True):
            request.tokens.append(token)
            if len(request.tokens) == request.limit:
                scheduler.remove(request.key)
    return [r.tokens[-count:] for r in requests]


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(hf.LlamaConfig(**{**SMALL, "num_key_value_heads": 4}), id="llama, no sharing"),
        pytest.param(hf.LlamaConfig(**{**SMALL, "num_key_value_heads": 1}), id="llama, one key head"),
        pytest.param(hf.MistralConfig(**SMALL, sliding_window=512), id="mistral, window never reached"),
        pytest.param(hf.MistralConfig(**SMALL, sliding_window=10), id="mistral, short window"),
        pytest.param(
            hf.Gemma3TextConfig(
                **SMALL,
                head_dim=16,
                sliding_window=10,
                layer_types=["sliding_attention", "full_attention"],
                query_pre_attn_scalar=16,
            ),
            id="gemma3, windows in some layers",
        ),
        pytest.param(hf.Phi3Config(**SMALL), id="phi3"),
        pytest.param(hf.Olmo2Config(**SMALL), id="olmo2"),
        pytest.param(hf.GPTNeoXConfig(**{**SMALL, "num_key_value_heads": 4}), id="gpt-neox"),
        pytest.param(hf.Qwen2Config(**SMALL), id="qwen2"),
        pytest.param(hf.Qwen3Config(**SMALL, head_dim=16), id="qwen3"),
        pytest.param(
            hf.GPTBigCodeConfig(
                vocab_size=300,
                n_positions=512,
                n_embd=64,
                n_layer=2,
                n_head=4,
                initializer_range=0.3,
                attn_pdrop=0.0,
                embd_pdrop=0.0,
                resid_pdrop=0.0,
            ),
            id="starcoder",
        ),
        pytest.param(hf.CohereConfig(**SMALL, logit_scale=0.25), id="cohere, scaled logits"),
    ],
)
def test_greedy_tokens_are_those_of_generate(config: Any) -> None:
    model = make(config)
    runner = Runner(model, cache_tokens=8 * BLOCK)
    runner.check()
    prompts = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], [9], [40] * 33]
    assert greedy(runner, prompts, 12) == [reference(model, p, 12) for p in prompts]


@pytest.mark.parametrize(
    ("config", "named"),
    [
        pytest.param(hf.Gemma2Config(**SMALL, head_dim=16), "soft-capped", id="gemma2"),
        pytest.param(
            hf.GptOssConfig(
                **SMALL, head_dim=16, sliding_window=512, num_local_experts=2, num_experts_per_tok=1
            ),
            "attention sinks",
            id="gpt-oss",
        ),
        pytest.param(
            hf.GPTNeoConfig(
                vocab_size=300,
                hidden_size=64,
                num_layers=2,
                num_heads=4,
                attention_types=[[["global", "local"], 1]],
                max_position_embeddings=512,
                window_size=8,
            ),
            "GPTNeo",
            id="gpt-neo",
        ),
    ],
)
def test_other_kinds_of_attention_are_refused_by_name(config: Any, named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        Runner(make(config), cache_tokens=8 * BLOCK).check()


@pytest.mark.parametrize(
    ("rope", "named"),
    [
        ({"rope_type": "dynamic", "factor": 2.0}, "dynamic"),
        (
            {
                "rope_type": "longrope",
                "factor": 2.0,
                "short_factor": [1.0] * 8,
                "long_factor": [2.0] * 8,
                "original_max_position_embeddings": 256,
            },
            "longrope",
        ),
    ],
)
def test_positions_that_change_with_the_neighbours_are_refused_by_name(
    rope: dict[str, Any], named: str
) -> None:
    config = hf.LlamaConfig(**SMALL, rope_parameters={"rope_theta": 10000.0, **rope})
    with pytest.raises(CheckpointError, match=rf"llama.*{named}"):
        Runner(make(config), cache_tokens=8 * BLOCK)


def test_a_rope_type_of_one_kind_of_layer_is_found() -> None:
    config = hf.Gemma3TextConfig(**SMALL, head_dim=16, layer_types=["full_attention", "sliding_attention"])
    config.rope_parameters = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
    }
    with pytest.raises(CheckpointError, match=r"gemma3_text.*dynamic"):
        Runner(make(config), cache_tokens=8 * BLOCK)


def test_a_model_whose_logits_differ_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(llama(), cache_tokens=8 * BLOCK)
    attend = runner.cache.attend

    def wrong(*args: Any, **kwargs: Any) -> Any:
        out, _ = attend(*args, **kwargs)
        return out * 1.1, None

    monkeypatch.setitem(hf.AttentionInterface._global_mapping, runner._name, wrong)
    with pytest.raises(CheckpointError, match="LlamaForCausalLM"):
        runner.check()


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    hf.LlamaConfig(**SMALL).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=str(tmp_path)) as caught:
        Runner.load(tmp_path, dtype="float32", device="cpu", cache_tokens=BLOCK)
    assert "\n" not in str(caught.value)
