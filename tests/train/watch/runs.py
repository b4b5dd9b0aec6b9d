"""Logs as workers write them."""

from __future__ import annotations

import json
from typing import Any

from ochat_ray.train import log
from ochat_ray.train.folders import Folders


def step_line(step: int, **more: Any) -> dict[str, Any]:
    """A step's line in losses.jsonl, two steps an epoch."""
    line = {"step": step, "epoch": (step + 1) // 2, "loss": 2 / step, "learning_rate": 1e-5 * step}
    return {**line, "grad_norm": 0.5, "tokens": 100, "targets": 60, **more}


def skipped_line(step: int, samples: list[str]) -> dict[str, Any]:
    """A line of a step that was left out."""
    line = {"step": step, "epoch": (step + 1) // 2, "skipped": "loss is nan", "learning_rate": 1e-5}
    return {**line, "tokens": 100, "samples": samples}


def speed_line(step: int, **more: Any) -> dict[str, Any]:
    """A step's line in speed.jsonl."""
    return {"step": step, "seconds": 0.5, "tokens_per_s": 200.0, "packing": 0.99, "memory_gb": 3.5, **more}


def write(folders: Folders, steps: range, **more: Any) -> None:
    """Add steps and their speed."""
    for step in steps:
        log.append(folders.losses, [step_line(step, **more)])
        log.append(folders.speed, [speed_line(step)])


def start(folders: Folders, step: int, workers: int = 2) -> None:
    """What the first worker does as it begins."""
    log.truncate(folders.losses, step)
    log.truncate(folders.speed, step)
    log.append(folders.attempts, [{"step": step, "workers": workers}])


def sent(folders: Folders, name: str) -> dict[str, Any]:
    """What a tracker is noted to have."""
    found: dict[str, Any] = json.loads((folders.trackers / f"{name}.json").read_text())
    return found
