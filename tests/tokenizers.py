"""Small tokenizers that the tests build: byte-level BPE as GPT-2's, sentencepiece-like BPE as LLaMA's."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ochat_ray.model_types import ModelType
from ochat_ray.tokenizer import ChatTokenizer

CORPUS = [
    "Human: User: Assistant: GPT4 Correct Math GPT3 system user assistant System\n\n",
    "The quick brown fox jumps over the lazy dog. def main():\n    return 1\n",
    "What is the capital of France? The capital of France is Paris.",
]


def add_specials(spec: dict[str, Any], tokens: list[str]) -> dict[str, Any]:
    """Added tokens after the vocabulary, with flags as careless as the ones met in the wild."""
    first = len(spec["model"]["vocab"])
    spec["added_tokens"] = [
        {
            "id": first + i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": True,
            "normalized": True,
            "special": True,
        }
        for i, token in enumerate(tokens)
    ]
    return spec


def byte_level(tokens: list[str], bos: str | None = None) -> ChatTokenizer:
    """Every byte is in the vocabulary: encoding loses nothing."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return ChatTokenizer(add_specials(json.loads(tokenizer.to_str()), tokens), bos)


def sentencepiece_like(tokens: list[str], bos: str | None = None) -> ChatTokenizer:
    """A dummy leading space, `\\u2581` for spaces, and single bytes for what is not in the vocabulary."""
    mark = "\u2581"
    vocab = {"<unk>": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}}
    for char in sorted({c for text in CORPUS for c in text if c not in "\n"} | {mark}):
        vocab.setdefault(char.replace(" ", mark), len(vocab))
    merges = [(mark, "t"), ("h", "e"), (mark + "t", "he"), ("e", "r"), (":", mark), ("<", "s")]
    for left, right in merges:
        for part in (left, right, left + right):
            vocab.setdefault(part, len(vocab))
    spec = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": mark},
                {"type": "Replace", "pattern": {"String": " "}, "content": mark},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": mark}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [list(pair) for pair in merges],
        },
    }
    return ChatTokenizer(add_specials(spec, tokens), bos)


def metaspace(tokens: list[str], bos: str | None = None, *, split: bool = False) -> ChatTokenizer:
    """LLaMA's later shape: a pre-tokenizer puts the dummy space, at the start of the whole text only."""
    spec = sentencepiece_like([]).spec
    spec["normalizer"] = None
    spec["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "\u2581",
        "prepend_scheme": "first",
        "split": split,
    }
    return ChatTokenizer(add_specials(spec, tokens), bos)


def metaspace_split(tokens: list[str], bos: str | None = None) -> ChatTokenizer:
    """The same, but cut into words."""
    return metaspace(tokens, bos, split=True)


def specials_of(model_type: ModelType) -> list[str]:
    """The model type's special tokens, and two more as base models have them."""
    return list(dict.fromkeys(["<s>", "</s>", *model_type.specials]))
