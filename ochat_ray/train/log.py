"""Logs of a run: JSON Lines that the first worker appends to, and the driver follows.

`losses.jsonl` has a line a step ("step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "targets"),
where one that was left out has "skipped", the reason, and "samples", its conversations, instead of a loss;
and a line an evaluation ("step", "eval_loss", and where there are classes "eval_losses" by their names). It
holds no times, so that two runs of the same plan can be compared line by line.

`speed.jsonl` has what is measured of each step ("step", "seconds", "tokens_per_s", "packing", "memory_gb", on
GPUs "mfu"); `attempts.jsonl` a line a start ("step", "workers").
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ochat_ray.storage import writing

NAME = "losses.jsonl"


def read(path: Path) -> list[dict[str, Any]]:
    """Every whole line; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def truncate(path: Path, step: int) -> None:
    """Keep what was logged up to the end of step `step` (steps count from 1)."""
    kept = [entry for entry in read(path) if entry["step"] <= step]
    with writing(path) as aside:
        aside.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")


def append(path: Path, entries: list[dict[str, Any]]) -> None:
    """Add lines, in one write."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(entry) + "\n" for entry in entries))
