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
from ochat_ray.storage import is_remote

__all__ = ["Choice", "Style", "funnel", "inspect"]


def inspect(path: str, choice: Choice, style: Style) -> Iterator[str]:
    """Lines that show `path`: conversations of a prepared folder or one of its files, what cleaning makes of
    a page or export, a model's origin. Raises DataError for anything else."""
    local = Path(path)
    if is_remote(path):
        from ochat_ray.inspect.prepared import show_prepared

        yield from show_prepared(path, choice, style)
    elif (local / EXPORTED).exists():
        yield from _model(local)
    elif (local / "model" / EXPORTED).exists():
        yield from _model(local / "model")
    elif not local.exists():
        raise DataError(f"{path}: no such file or folder")
    elif local.is_dir() or _is_prepared(local):
        from ochat_ray.inspect.prepared import show_prepared

        yield from show_prepared(path, choice, style)
    else:
        from ochat_ray.inspect.source import show_source

        yield from show_source(local, choice, style)


def _is_prepared(path: Path) -> bool:
    """Whether a file is one that `prepare` wrote."""
    return path.suffix in (".parquet", ".arrow") and path.name.startswith("part-")


def _model(path: Path) -> Iterator[str]:
    exported = load_exported(path)
    shown = {key: value for key, value in exported.facts.items() if key != "recipe"}
    yield json.dumps(shown, indent=1, ensure_ascii=False)
    yield "template and tokenizer are those the model was trained with"
