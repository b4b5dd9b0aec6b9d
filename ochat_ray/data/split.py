"""Which side of the split a conversation is on: the same in every run, whatever else there is."""

from __future__ import annotations

import hashlib


def split_of(id: str, eval_fraction: float) -> str:
    """`eval` for about that fraction of ids, else `train`. A larger fraction holds out those and more."""
    return "eval" if place_of(id) < eval_fraction else "train"


def place_of(id: str) -> float:
    """A number in [0, 1) that an id always has."""
    return int.from_bytes(hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64
