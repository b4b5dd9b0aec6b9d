"""What is in an input file, a prepared folder or an exported model, for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ochat_ray.errors import DataError
from ochat_ray.exported import NAME as EXPORTED
from ochat_ray.exported import load_exported
from ochat_ray.inspect.choose import Choice
from ochat_ray.inspect.show import Style, funnel

__all__ = ["Choice", "Style", "funnel", "inspect"]


def inspect(path: str, choice: Choice, style: Style) -> Iterator[str]:
    """Lines that show `path`: conversations of a prepared folder or one of its files, what cleaning makes of
    pages or exports, a model's origin. Raises DataError for anything else."""
    if choice.number < 1:
        raise DataError(f"{choice.number} conversations: ask for 1 or more")
    local = Path(path)
    if (local / EXPORTED).exists():
        yield from _model(local)
    elif (local / "model" / EXPORTED).exists():
        yield from _model(local / "model")
    else:
        from ochat_ray.inspect.prepared import folder_of, show_prepared
        from ochat_ray.inspect.source import show_source

        show = show_prepared if folder_of(path) else show_source
        yield from show(path, choice, style)


def _model(path: Path) -> Iterator[str]:
    exported = load_exported(path)
    shown = {key: value for key, value in exported.facts.items() if key != "recipe"}
    yield json.dumps(shown, indent=1, ensure_ascii=False)
    yield "template and tokenizer are those the model was trained with"
