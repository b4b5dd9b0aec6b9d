"""The folder of a base model appears whole or not at all: an interrupted one would pass for a model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ochat_ray.errors import CheckpointError


def require_empty(output: Path) -> None:
    """Raises CheckpointError where `output` is anything but an empty folder, or nothing."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise CheckpointError(f"{output}: not empty, or no folder; give another one, or delete it")


@contextmanager
def appearing(output: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `output` in one step if the block ends well."""
    aside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        aside.mkdir(parents=True)
        yield aside
        if output.exists():
            output.rmdir()
        aside.rename(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
