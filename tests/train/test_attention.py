"""Packed attention on a GPU agrees with the one on CPUs, which the isolation tests hold to transformers'."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ochat_ray.train import attention
from ochat_ray.train.attention import packed_attention

BORDERS = torch.tensor([0, 5, 69, 86], dtype=torch.int32)
LONGEST = 64


def attend(device: str, dtype: torch.dtype, window: int | None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, heads, int(BORDERS[-1]), 64) for heads in (4, 2, 2)]  # grouped key/value heads
    query, key, value = (torch.randn(shape, generator=generator).bfloat16() for shape in shapes)
    out, _ = packed_attention(
        nn.Identity(),
        query.to(device, dtype),
        key.to(device, dtype),
        value.to(device, dtype),
        None,
        scaling=0.125,
        sliding_window=window,
        cu_seq_lens_q=BORDERS.to(device),
        max_length_q=LONGEST,
    )
    return out.float().cpu()


@pytest.mark.parametrize("window", [None, 8])
def test_borders_and_windows_matter_on_cpus(window: int | None) -> None:
    out = attend("cpu", torch.float32, window)
    assert out.shape == (1, 86, 4, 64)
    assert torch.allclose(out[:, :5], attend("cpu", torch.float32, None)[:, :5])  # shorter than any window
    assert torch.allclose(out, attend("cpu", torch.float32, None)) == (window is None)


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 8])
def test_variable_length_kernel_agrees_with_segments(window: int | None) -> None:
    on_gpu = attend("cuda", torch.bfloat16, window)
    torch.testing.assert_close(on_gpu, attend("cpu", torch.float32, window), atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("window", [None, 16])
def test_flash_attn_is_asked_for_the_same(monkeypatch: pytest.MonkeyPatch, window: int | None) -> None:
    """Its package needs a GPU; a stand-in here takes its arguments and computes with them on the CPU."""

    def flash_attn_varlen_func(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        cu_seqlens_q: torch.Tensor,
        cu_seqlens_k: torch.Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        *,
        softmax_scale: float,
        causal: bool,
        window_size: tuple[int, int],
    ) -> torch.Tensor:
        assert causal and torch.equal(cu_seqlens_q, cu_seqlens_k) and max_seqlen_q == max_seqlen_k == LONGEST
        left = window_size[0] + 1 if window_size != (-1, -1) else None
        return attention._on_cpu(q, k, v, cu_seqlens_q, softmax_scale, left)

    monkeypatch.setattr(attention, "_flash_attn", lambda: flash_attn_varlen_func)
    generator = torch.Generator().manual_seed(0)
    shapes = [(int(BORDERS[-1]), heads, 64) for heads in (4, 2, 2)]
    q, k, v = (torch.randn(shape, generator=generator) for shape in shapes)
    found = attention._on_cuda(q, k, v, BORDERS, LONGEST, 0.125, window)
    assert torch.equal(found, attention._on_cpu(q, k, v, BORDERS, 0.125, window))
