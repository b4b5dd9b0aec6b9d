"""Exact deduplication: equal texts have equal hashes in every process, and the best copy stays."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson

from ochat_ray.conversation import Message


class Rank(NamedTuple):
    """How good a copy is; the smallest is the best: by a wanted model, then one from which something can be
    learnt, then longer, then by id and source.
    """

    unwanted: bool
    useless: bool
    shortness: int
    id: str
    source: str


def text_hash(messages: Iterable[Message]) -> str:
    """sha256 over roles and texts, hex. Not salted, so equal in all processes and runs.

    Texts that differ in white space or in how Unicode composes them (NFC) are the same text.
    """
    turns = [[message.role, normalized(message.content)] for message in messages]
    return hashlib.sha256(orjson.dumps(turns)).hexdigest()


def normalized(text: str) -> str:
    """A text with each run of white space as one space, in NFC."""
    folded = " ".join(text.split())
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


def best_copies(hashes: Sequence[str], ranks: Sequence[Rank]) -> list[int]:
    """For each row, the index of the row that stands for all copies of its text, whatever their order."""
    best: dict[str, int] = {}
    for row, text in enumerate(hashes):
        if text not in best or ranks[row] < ranks[best[text]]:
            best[text] = row
    return [best[text] for text in hashes]
