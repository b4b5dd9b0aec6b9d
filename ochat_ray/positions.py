"""What a Hugging Face `config.json` says of positions: training and serving ask the same of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def position_limit(config: dict[str, Any]) -> int | None:
    """The most positions of the model, or None where it names no limit."""
    limit: int | None = config.get("max_position_embeddings") or config.get("n_positions")  # GPT-2's family
    return limit


def changing_rope(config: dict[str, Any]) -> str | None:
    """A `rope_type` whose angles depend on the longest sequence that runs, if the model has one.

    With such a one, what is computed for a conversation changes with its neighbours in the pack.
    """
    return next((kind for kind in _rope_types(config) if "dynamic" in kind or kind == "longrope"), None)


def _rope_types(config: Any) -> Iterator[str]:
    """Every `rope_type`: there may be one for each kind of layer, and for each part of a model."""
    if isinstance(config, dict):
        for name, value in config.items():
            if name == "rope_type" and isinstance(value, str):
                yield value
            else:
                yield from _rope_types(value)
