"""Packed attention on a GPU agrees with the one on CPUs, which the isolation tests hold to transformers'."""

from __future__ import annotations

import pytest
import torch
from torch import nn

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
