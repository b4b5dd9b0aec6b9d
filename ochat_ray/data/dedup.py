"""Exact deduplication: equal texts have equal hashes in every process, and the best copy stays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import pyarrow as pa

from ochat_ray.conversation import Message


def text_hash(messages: Iterable[Message]) -> str:
    """sha256 over roles and texts, hex. Not salted, so equal in all processes and runs."""
    turns = [[message.role, message.content] for message in messages]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


def best_copies(rows: pa.Table, models: tuple[str, ...]) -> list[int]:
    """For each row, the index of the row that stands for all copies of its text.

    Takes columns `hash`, `model`, `id` and `source`. The best copy is by one of `models` if any is,
    then has the smallest id, then the smallest source: the order of the rows does not matter.
    """
    columns = (rows[name].to_pylist() for name in ("hash", "model", "id", "source"))
    ranked = [
        (text, model not in models, id, source, row)
        for row, (text, model, id, source) in enumerate(zip(*columns, strict=True))
    ]
    best: dict[str, int] = {}
    for text, *_, row in sorted(ranked):
        best.setdefault(text, row)
    return [best[text] for text, *_ in ranked]
