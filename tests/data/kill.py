"""Workers that are killed in the middle of writing a file, one in each stage."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ochat_ray.data import pipeline
from ochat_ray.storage import LocalStorage, writing

STAGES = {
    "clean": "clean_units",
    "distinct": "gather",
    "near": "candidates_of",
    "finish": "finish_shards",
}


def shuffle_everything() -> None:
    """Bring even few documents together by Ray's shuffle."""
    pipeline.SMALL = 0
    STAGES["distinct"] = "write_shards"


def kill_once(stage: str, folder: str) -> None:
    """Let the worker that writes the second file of `stage` die by SIGKILL halfway; leaves `killed-STAGE`."""
    module = importlib.import_module(f"ochat_ray.data.stages.{stage}")
    plain: Callable[..., Any] = getattr(module, STAGES[stage])

    def killed(table: Any, **arguments: Any) -> Any:
        _die_writing(stage, folder)
        return plain(table, **arguments)

    setattr(module, STAGES[stage], killed)


@cache  # once in each process
def _die_writing(stage: str, folder: str) -> None:
    first, marker = Path(folder) / f"began-{stage}", Path(folder) / f"killed-{stage}"
    plain = LocalStorage.write

    def write(storage: LocalStorage, path: str, data: Any) -> None:
        if not first.exists():
            first.touch()
        elif not marker.exists():
            marker.touch()
            with writing(storage.root / path) as aside:
                aside.write_bytes(bytes(data)[:100])
                os.kill(os.getpid(), signal.SIGKILL)
        plain(storage, path, data)

    LocalStorage.write = write  # type: ignore[method-assign]
