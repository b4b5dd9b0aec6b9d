"""A small Llama, and conversations of random tokens for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from ochat_ray.bench._lengths import chats
from ochat_ray.config import BaseConfig

SHAPE = BaseConfig()
FIRST = 300  # of the ids drawn: those below are special tokens and bytes


def llama(attention: str) -> Any:
    """The same weights each time; a config each, because a model keeps its attention's name in it."""
    config = LlamaConfig(
        vocab_size=SHAPE.vocab_size,
        hidden_size=SHAPE.hidden_size,
        intermediate_size=SHAPE.intermediate_size,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        attn_implementation=attention,
        use_cache=False,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config)


def conversations(count: int, *, context: int) -> list[NDArray[np.int32]]:
    """Token ids of conversations as long as shared chats are."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(FIRST, SHAPE.vocab_size, length).astype(np.int32)
        for length in chats(count, context=context)
    ]
