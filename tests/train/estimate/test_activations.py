"""The estimate of activations, held against what real models on the CPU really keep."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM, GPTBigCodeConfig, LlamaConfig, MistralConfig, PreTrainedConfig

from ochat_ray.train import attention
from ochat_ray.train.batch import PackedBatch, pack_lists
from ochat_ray.train.estimate.activations import Alive, find_activations
from ochat_ray.train.estimate.memory import LOGITS
from ochat_ray.train.loss import packed_loss
from ochat_ray.train.model import PackedModel
from tests.train.models import PUBLISHED

# Many tokens for the width, as in real packs: the gradient of a weight is small beside activations.
LENGTHS = (500, 900, 76, 572)
TOLERANCE = 0.02
SHAPES: dict[str, PreTrainedConfig] = {
    "Llama": LlamaConfig(vocab_size=256, hidden_size=48, intermediate_size=128, num_attention_heads=4),
    "Llama, wide": LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=224, num_attention_heads=2, num_key_value_heads=1
    ),
    "Mistral": MistralConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=160,
        num_attention_heads=8,
        num_key_value_heads=2,
        sliding_window=None,
    ),
    "GPTBigCode": GPTBigCodeConfig(
        vocab_size=256, n_embd=48, n_head=4, n_inner=192, n_positions=1024, bos_token_id=0, eos_token_id=0
    ),
}


def real(shape: str, layers: int, *, checkpointing: bool) -> PackedModel:
    config = SHAPES[shape]
    config.num_hidden_layers = layers
    attention.register()
    hf: Any = AutoModelForCausalLM.from_config(config, attn_implementation=attention.NAME)
    for module in hf.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if checkpointing:
        hf.activation_checkpointing_enable({"use_reentrant": False})
    return PackedModel(hf.train())


def batch() -> PackedBatch:
    return pack_lists([[1] * length for length in LENGTHS], [[1.0] * length for length in LENGTHS])


def kept_bytes(model: PackedModel) -> int:
    """What autograd saves in a forward pass, each storage once and weights not."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model._hidden_TH(batch())
    total = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    del hidden
    return total


def most_bytes(model: PackedModel) -> int:
    """Most that is alive at a time in a forward and a backward pass, gradients of weights apart."""
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter: setattr(parameter, "grad", None))
    with Alive([*model.parameters(), *model.buffers()]) as alive:
        hidden = model._hidden_TH(batch())
        hidden.backward(torch.empty_like(hidden))
    return int(alive.peak)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_layer_keeps_what_autograd_saves(shape: str) -> None:
    found = find_activations(SHAPES[shape], torch.float32, checkpointing=False, gpu=False)
    few, more = (kept_bytes(real(shape, layers, checkpointing=False)) for layers in (2, 4))
    assert 2 * found.layer * sum(LENGTHS) == pytest.approx(more - few, rel=TOLERANCE)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("layers", [1, 5])
def test_the_peak_of_a_real_pass(shape: str, checkpointing: bool, layers: int) -> None:
    found = find_activations(SHAPES[shape], torch.float32, checkpointing=checkpointing, gpu=False)
    measured = most_bytes(real(shape, layers, checkpointing=checkpointing))
    assert found.bytes(sum(LENGTHS), layers) == pytest.approx(measured, rel=0.05)


def test_checkpointing_keeps_only_what_goes_into_each_layer() -> None:
    config = PUBLISHED["LLaMA-13B"][0]
    kept, recomputed = (
        find_activations(config, torch.bfloat16, checkpointing=checkpointing, gpu=True)
        for checkpointing in (False, True)
    )
    assert recomputed.layer == 2 * 5120
    # About 34 bytes a token and hidden value in all, without dropout (Korthikanti et al. 2022).
    assert 20 * 2 * 5120 < kept.layer < 34 * 2 * 5120


@pytest.mark.parametrize("rows", [100, 250])
def test_logits_take_three_float32_each(rows: int) -> None:
    vocabulary = 1000
    hidden = torch.randn(rows, 8, dtype=torch.bfloat16, requires_grad=True)
    head = torch.nn.Linear(8, vocabulary, bias=False, dtype=torch.bfloat16)
    labels, weights = torch.randint(vocabulary, (rows,)), torch.ones(rows)
    with Alive([hidden, head.weight, labels, weights]) as alive:
        packed_loss(
            hidden, labels, weights, head, vocab_size=vocabulary, divisor=1.0, chunk_rows=100
        ).backward()
    assert alive.peak == pytest.approx(LOGITS * 100 * vocabulary, rel=0.1)
