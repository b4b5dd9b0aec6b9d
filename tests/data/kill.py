"""Workers that are killed in the middle of a stage, one in each."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ochat_ray.data import pipeline

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
    """Let the first worker that has done a part of `stage` die by SIGKILL; it leaves `killed-STAGE`."""
    module = importlib.import_module(f"ochat_ray.data.stages.{stage}")
    plain: Callable[..., Any] = getattr(module, STAGES[stage])
    marker = Path(folder) / f"killed-{stage}"

    def killed(table: Any, **arguments: Any) -> Any:
        done = plain(table, **arguments)
        if not isinstance(done, Iterator):
            _die(marker)
        return _dying(done, marker) if isinstance(done, Iterator) else done

    setattr(module, STAGES[stage], killed)


def _dying(done: Iterator[Any], marker: Path) -> Iterator[Any]:
    for part in done:
        yield part
        _die(marker)


def _die(marker: Path) -> None:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
