"""The lines of the logs, joined to one record a step.

A record holds what the lines of its step hold: see `log.py` for the names. One is whole once the next step
has begun, because its evaluation and its speed are written after its loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.tail import Tail

Record = dict[str, Any]


@dataclass(frozen=True)
class News:
    """What came, in this order. `back_to`: the last step that still holds, if others were taken back."""

    starts: list[dict[str, int]]
    notes: list[str]
    back_to: int | None
    whole: list[Record]
    newest: Record | None


class Steps:
    """Reads the logs of a run."""

    def __init__(self, folders: Folders) -> None:
        self._starts = Tail(folders.attempts)
        self._notes = Tail(folders.notes)
        self._losses = Tail(folders.losses)
        self._speed = Tail(folders.speed)
        self._open: dict[int, Record] = {}

    def read(self, *, ended: bool = False) -> News:
        """What came since the last call; with `ended` the newest step is whole too."""
        starts = self._starts.read().entries
        notes = [entry["note"] for entry in self._notes.read().entries]
        # Losses first: a step's speed is written last, so that it is there for all steps but the newest.
        losses, speed = self._losses.read(), self._speed.read()
        back = [news.back_to for news in (losses, speed) if news.back_to is not None]
        back_to = min(back) if back else None
        if back_to is None:
            entries = losses.entries + speed.entries
        else:
            self._open.clear()
            entries = self._losses.after(back_to) + self._speed.after(back_to)
        for entry in entries:
            self._open.setdefault(entry["step"], {}).update(entry)
        newest = max(self._open, default=0)
        whole = [self._open.pop(step) for step in sorted(self._open) if ended or step < newest]
        if ended:
            return News(starts, notes, back_to, whole, whole[-1] if whole else None)
        return News(starts, notes, back_to, whole, dict(self._open[newest]) if newest else None)
