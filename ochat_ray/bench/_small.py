"""A small Llama, and conversations of random tokens for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from ochat_ray.bench._lengths import chats
from ochat_ray.config import BaseConfig
from ochat_ray.data.tokens.files import TokenRow, tokens_file
from ochat_ray.data.tokens.fit import Row
from ochat_ray.manifest import file_facts, write_manifest
from ochat_ray.model_types import load_model_type
from ochat_ray.storage import storage
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer

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


def write_prepared(folder: Path, base: Path, found: Sequence[NDArray[np.int32]]) -> None:
    """What `prepare` would have made of conversations, all of whose tokens carry loss."""
    template = ChatTemplate(load_model_type("openchat"), ChatTokenizer.load(base))
    rows = [
        TokenRow(str(number), 0, None, Row(ids, np.ones(len(ids), np.float32)))
        for number, ids in enumerate(found)
    ]
    files = {"tokens/openchat/train/0.arrow": tokens_file(rows, template)}
    files["tokens/openchat/eval/0.arrow"] = tokens_file([], template)
    for name, data in files.items():
        storage(folder).write(name, data)
    facts = {name: file_facts(data) for name, data in files.items()}
    write_manifest(storage(folder), facts, {"counts": {"kept": len(found)}})
