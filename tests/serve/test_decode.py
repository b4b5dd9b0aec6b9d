"""Attention of single tokens against torch's."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from ochat_ray.serve.engine.decode import attend


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=5),
    st.sampled_from([(4, 4, 16), (6, 2, 64), (8, 1, 32), (3, 3, 5)]),
    st.floats(0.01, 30),
)
def test_it_is_torch_s_attention(lengths: list[int], shape: tuple[int, int, int], spread: float) -> None:
    heads, kv_heads, size = shape
    generator = torch.Generator().manual_seed(sum(lengths))
    starts = np.cumsum([3, *lengths[:-1]])
    stops = starts + np.array(lengths)
    keys, values = (torch.randn(kv_heads, int(stops[-1]) + 4, size, generator=generator) for _ in range(2))
    query = torch.randn(len(lengths), heads, size, generator=generator) * spread
    out = torch.full_like(query, float("nan"))
    attend(query.numpy(), keys.numpy(), values.numpy(), starts, stops, np.float32(0.2), out.numpy())
    for n, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        expected = scaled_dot_product_attention(
            query[n][None, :, None],
            keys[None, :, start:stop],
            values[None, :, start:stop],
            scale=0.2,
            enable_gqa=True,
        )
        torch.testing.assert_close(out[n], expected[0, :, 0], rtol=1e-4, atol=1e-4)
