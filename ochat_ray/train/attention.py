"""Causal attention inside each conversation of a pack, as an attention implementation of transformers.

Every model that takes its attention from transformers' registry runs it unchanged. The borders come as
`cu_seq_lens_q`; without them the whole row is one conversation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AttentionInterface

from ochat_ray.errors import CheckpointError

NAME = "ochat_packed"


def register() -> None:
    """Make `attn_implementation=NAME` known to transformers."""
    AttentionInterface.register(NAME, packed_attention)


def packed_attention(
    _module: nn.Module,
    query_BADT: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention over (1, heads, T, D) with grouped key/value heads; returns (1, T, heads, D).

    Dropout is left out on purpose: results must not depend on how conversations were packed.
    """
    assert attention_mask is None and query_BADT.shape[0] == 1
    if softcap is not None or s_aux is not None:
        raise CheckpointError(
            "attention with capped logits or sinks cannot be computed in packs; train a model without, "
            "such as Llama or Mistral"
        )
    query, key, value = (x[0].transpose(0, 1) for x in (query_BADT, key, value))  # (T, heads, D)
    length = len(query)
    if cu_seq_lens_q is None or max_length_q is None:
        cu_seq_lens_q = torch.tensor([0, length], dtype=torch.int32, device=query.device)
        max_length_q = length
    window = sliding_window if sliding_window is not None and sliding_window < max_length_q else None
    if query.is_cuda:
        out = _on_cuda(query, key, value, cu_seq_lens_q, max_length_q, scaling, window)
    else:
        out = _on_cpu(query, key, value, cu_seq_lens_q, scaling, window)
    return out.unsqueeze(0), None


def _on_cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seqlens: torch.Tensor,
    longest: int,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    packs = (*(x.contiguous() for x in (query, key, value)), cu_seqlens, cu_seqlens, longest, longest)
    seen = (window - 1 if window else -1, 0)  # positions before and after each that it may look at
    out: torch.Tensor
    if flash := _flash_attn():
        seen = seen if window else (-1, -1)
        out = flash(*packs, softmax_scale=scaling, causal=True, window_size=seen)
    else:
        from torch.nn.attention.varlen import varlen_attn

        grouped = query.shape[1] != key.shape[1]
        out = varlen_attn(*packs, scale=scaling, window_size=seen, enable_gqa=grouped)
    return out


@functools.cache
def _flash_attn() -> Callable[..., torch.Tensor] | None:
    """The kernel of flash-attn (Dao 2023), where its maker's package is installed."""
    try:
        from flash_attn import flash_attn_varlen_func
    except ImportError:
        return None
    found: Callable[..., torch.Tensor] = flash_attn_varlen_func
    return found


def _on_cpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seqlens: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    borders = cu_seqlens.tolist()
    parts = []
    for start, end in pairwise(borders):
        q, k, v = (x[start:end].transpose(0, 1).unsqueeze(0) for x in (query, key, value))
        banded = window is not None and end - start > window
        mask = _band(end - start, window) if banded and window is not None else None
        part = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        parts.append(part[0].transpose(0, 1))
    return torch.cat(parts)


def _band(length: int, window: int) -> torch.Tensor:
    """True where a position may look: itself and the `window - 1` before it."""
    ones = torch.ones(length, length, dtype=torch.bool)
    return ones.tril().triu(1 - window)
