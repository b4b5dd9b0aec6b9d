"""Small models of somebody else, as base models come: their own tokenizer, no end-of-turn token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPTBigCodeConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
)

from ochat_ray.tokenizer import ChatTokenizer

SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def llama(**changes: Any) -> LlamaConfig:
    return LlamaConfig(**{**SHAPE, "max_position_embeddings": 512, **changes})


def mistral() -> MistralConfig:
    return MistralConfig(**SHAPE, num_key_value_heads=1, max_position_embeddings=512)


def qwen2() -> Qwen2Config:
    return Qwen2Config(**SHAPE, num_key_value_heads=1, max_position_embeddings=512, tie_word_embeddings=True)


def gemma() -> GemmaConfig:
    return GemmaConfig(**SHAPE, num_key_value_heads=1, head_dim=8, max_position_embeddings=512)


def starcoder(**changes: Any) -> GPTBigCodeConfig:
    return GPTBigCodeConfig(**{"n_embd": 64, "n_layer": 1, "n_head": 2, "n_positions": 8192, **changes})


def foreign(
    folder: Path,
    config: PretrainedConfig,
    *,
    spare_rows: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    shard_size: str = "1GB",
) -> Path:
    """A Hugging Face folder of random weights, with `spare_rows` more rows than its tokenizer has ids."""
    folder.mkdir()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["some words, some more words, and so on"] * 3, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>"}))
    torch.manual_seed(1)
    config.vocab_size = tokenizer.get_vocab_size() + spare_rows
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.save_pretrained(folder, max_shard_size=shard_size)
    return folder


def load(folder: Path, **changes: Any) -> Any:
    """The model of a folder, in the folder's own dtype."""
    return AutoModelForCausalLM.from_pretrained(folder, **{"dtype": "auto", **changes})


def rows_of(folder: Path) -> int:
    """Ids that the tokenizer of a folder has."""
    return ChatTokenizer.load(folder).vocab_size
