"""What is new in a log that another process writes, and may cut back to go on from an earlier step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class News:
    """New entries, oldest first. `back_to`: the last step that still holds, if others were taken back."""

    entries: list[dict[str, Any]]
    back_to: int | None = None


class Tail:
    """Reads whole lines as they come.

    A log that was cut back and grew again may be longer than before, so its size says little. The line that
    was last is looked for at its place: if something else is there, the whole log is compared.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[bytes] = []
        self._end = 0

    def read(self) -> News:
        """What came since the last call; a line that is being written comes with the next."""
        last = self._lines[-1] if self._lines else b""
        try:
            with self.path.open("rb") as file:
                file.seek(self._end - len(last))
                found = file.read()
                if found.startswith(last):
                    lines = _whole(found[len(last) :])
                    self._lines += lines
                    self._end += sum(map(len, lines))
                    return News([json.loads(line) for line in lines])
                file.seek(0)
                lines = _whole(file.read())
        except FileNotFoundError:
            return News([])
        return self._compare(lines)

    def after(self, step: int) -> list[dict[str, Any]]:
        """All that was read of later steps."""
        return [entry for entry in map(json.loads, self._lines) if entry["step"] > step]

    def _compare(self, lines: list[bytes]) -> News:
        before, self._lines, self._end = self._lines, lines, sum(map(len, lines))
        same = 0
        for old, new in zip(before, lines, strict=False):
            if old != new:
                break
            same += 1
        entries = [json.loads(line) for line in lines[same:]]
        if same == len(before):
            return News(entries)
        return News(entries, json.loads(lines[same - 1])["step"] if same else 0)


def _whole(found: bytes) -> list[bytes]:
    return [line for line in found.splitlines(keepends=True) if line.endswith(b"\n")]
