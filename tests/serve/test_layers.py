"""Faster layers compute what the model's own do, and others are left alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from ochat_ray.serve.engine.layers import GatedMlp, PackedLinear, RmsNorm, speed_up
from tests.serve.conftest import llama


class Mlp(nn.Module):
    """Llama's feed-forward layer, or another one of the same parts."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(32, 48, bias=False), nn.Linear(32, 48, bias=False)
        self.down_proj = nn.Linear(48, 32)
        self.activation = activation

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        gated = self.activation(self.gate_proj(input)) * self.up_proj(input)
        out: torch.Tensor = self.down_proj(gated)
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_a_packed_layer_computes_the_same(dtype: torch.dtype, bias: bool) -> None:
    linear = nn.Linear(40, 24, bias=bias).to(dtype)
    model = nn.Sequential(linear)
    expected = {rows: linear(torch.ones(rows, 40, dtype=dtype)) for rows in (1, 7, 64)}
    speed_up(model)
    if not isinstance(model[0], PackedLinear):
        pytest.skip(f"oneDNN has no kernel for {dtype} here")
    for rows, value in expected.items():
        got = model(torch.ones(rows, 40, dtype=dtype))
        torch.testing.assert_close(got, value, rtol=2e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-2)


def test_a_layer_like_llama_s_is_fused_and_another_is_not() -> None:
    same, other = nn.Sequential(Mlp(nn.SiLU())), nn.Sequential(Mlp(nn.Tanh()))
    input = torch.randn(5, 32)
    expected = [same(input), other(input)]
    speed_up(same)
    speed_up(other)
    assert isinstance(same[0], GatedMlp)
    assert isinstance(other[0], Mlp)
    torch.testing.assert_close(same(input), expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other(input), expected[1], rtol=1e-4, atol=1e-5)


def test_a_norm_like_llama_s_is_fused_and_gemma_s_is_not() -> None:
    model = nn.Sequential(LlamaRMSNorm(24, eps=1e-5), Gemma3RMSNorm(24))
    with torch.no_grad():
        for norm in model:
            norm.weight.uniform_(0.5, 1.5)
    input = torch.randn(3, 24)
    expected = model(input)
    speed_up(model)
    assert isinstance(model[0], RmsNorm)
    assert isinstance(model[1], Gemma3RMSNorm)
    torch.testing.assert_close(model(input), expected, rtol=1e-5, atol=1e-5)


def test_a_whole_model_gives_the_same_logits() -> None:
    model = llama()
    packed = copy.deepcopy(model)
    speed_up(packed)
    assert any(isinstance(module, GatedMlp) for module in packed.modules())
    ids = torch.arange(30)[None]
    with torch.inference_mode():
        torch.testing.assert_close(packed(ids).logits, model(ids).logits, rtol=1e-3, atol=1e-3)
