"""`losses.jsonl`: one line for each optimizer step, and one for each evaluation.

It holds no times, so that two runs of the same plan can be compared line by line.
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


def last(path: Path) -> dict[str, Any] | None:
    """The last step's line, reading only the end of the file; None before the first."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 4096, 0))
        lines = file.read().splitlines(keepends=True)
    entries = [json.loads(line) for line in lines[-5:] if line.endswith(b"\n") and line.startswith(b"{")]
    return next((entry for entry in reversed(entries) if "loss" in entry), None)
