"""Progress of long work: one rewritten line on a terminal, a plain line every few seconds in a log."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Self, TextIO

INTERVAL_S = {True: 0.2, False: 5.0}  # terminal, log


class Progress:
    """Counts items towards a total and shows count, rate and time left.

    with Progress("clean", total=3000, unit="pages") as progress:
        progress.update(500)
    """

    def __init__(
        self, what: str, *, total: float | None, unit: str, start: float = 0, stream: TextIO | None = None
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.start = self.count = start
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.began = self.shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Show the last line, with the time it took."""
        self._show(final=True)

    def update(self, count: float, note: str = "") -> None:
        """Add `count` items; `note` is shown at the end of the line (e.g. `loss 1.23`)."""
        self.count += count
        if time.monotonic() - self.shown >= INTERVAL_S[self.terminal]:
            self._show(note)

    def tell(self, line: str) -> None:
        """Write a line of its own, on a terminal in place of the one that is rewritten."""
        self.stream.write(("\r\x1b[K" if self.terminal else "") + line + "\n")
        self.stream.flush()

    def _show(self, note: str = "", *, final: bool = False) -> None:
        self.shown = time.monotonic()
        seconds = max(self.shown - self.began, 1e-9)
        rate = (self.count - self.start) / seconds
        line = f"{self.what}: {self.count:,.0f}"
        line += f"/{self.total:,.0f} {self.unit}" if self.total is not None else f" {self.unit}"
        line += f", {_rate(rate)}" if rate > 0 else ""
        if final:
            line += f", took {duration(seconds)}"
        elif self.total is not None and rate > 0:
            line += f", {duration((self.total - self.count) / rate)} left"
        line += f", {note}" if note else ""
        if self.terminal:
            # A line that wraps cannot be rewritten.
            line = line[: shutil.get_terminal_size().columns - 1]
            self.stream.write("\r\x1b[K" + line + ("\n" if final else ""))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()


def _rate(rate: float) -> str:
    if rate < 0.1:
        return f"{1 / rate:,.0f} s each"
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2f}/s"


def duration(seconds: float) -> str:
    """Seconds for people: `42 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
