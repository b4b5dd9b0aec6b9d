"""Progress of long work: one rewritten line on a terminal, a line every few seconds in a log.

With OCHAT_LOG=json in the environment the lines of a log are JSON objects that name the job.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TextIO

INTERVAL_S = {True: 0.2, False: 5.0}  # terminal, log
# From when on a rate tells how long it will take: at first it is that of workers which are starting.
SETTLED_S, SETTLED_SHARE = 30.0, 0.05
FORMAT = "OCHAT_LOG"
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # of what `ray job submit` starts


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
        self.json = not self.terminal and os.environ.get(FORMAT) == "json"
        self.began = self.shown = time.monotonic()

    def __enter__(self) -> Self:
        if self.terminal:
            self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("took" if kind is None else "stopped after")

    def close(self, end: str = "took", note: str = "") -> None:
        """Show the last line, with the time it took."""
        self._show(note, end=end)

    def update(self, count: float, note: str = "") -> None:
        """Add `count` items; `note` is shown at the end of the line (e.g. `loss 1.23`)."""
        self.count += count
        over = self.count == self.total and not note  # the last line says as much
        if not over and time.monotonic() - self.shown >= INTERVAL_S[self.terminal]:
            self._show(note)

    def tell(self, line: str) -> None:
        """Write a line of its own, on a terminal in place of the one that is rewritten."""
        text = _record(stage=self.what, note=line) if self.json else line
        self.stream.write(("\r\x1b[K" if self.terminal else "") + text + "\n")
        self.stream.flush()

    def _show(self, note: str = "", *, end: str = "") -> None:
        self.shown = time.monotonic()
        seconds = max(self.shown - self.began, 1e-9)
        parts = [f"{self.what}: {self._counted()}", self._rate(seconds)]
        parts += [f"{end} {duration(seconds)}" if end else self._left(seconds), note]
        line = ", ".join(part for part in parts if part)
        if self.json:
            line = _record(
                stage=self.what,
                count=self.count,
                total=self.total,
                unit=self.unit,
                seconds=round(seconds, 3),
                state={"": "running", "took": "done"}.get(end, "stopped"),
                note=note or None,
            )
        if self.terminal:
            # A line that wraps cannot be rewritten.
            line = line[: shutil.get_terminal_size().columns - 1]
            self.stream.write("\r\x1b[K" + line + ("\n" if end else ""))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def _counted(self) -> str:
        of = f"/{_number(self.total)}" if self.total is not None else ""
        return f"{_number(self.count)}{of} {self.unit}"

    def _rate(self, seconds: float) -> str:
        rate = (self.count - self.start) / seconds
        if rate <= 0 or (self.total is not None and self.total <= 1):  # how long one thing takes is no rate
            return ""
        slow = f"{duration(1 / rate)} a {self.unit.removesuffix('s')}"
        return slow if rate < 0.1 else f"{_number(rate)} {self.unit}/s"

    def _left(self, seconds: float) -> str:
        done, total = self.count - self.start, (self.total or 0) - self.start
        if not 0 < done < total or (seconds < SETTLED_S and done < SETTLED_SHARE * total):
            return ""
        return f"{duration((total - done) * seconds / done)} left"


def say(line: str) -> None:
    """A line of its own for the person at the terminal, or for the log."""
    as_json = os.environ.get(FORMAT) == "json" and not sys.stderr.isatty()
    print(_record(note=line.strip()) if as_json else line, file=sys.stderr, flush=True)


def submission_id() -> str | None:
    """The name of the submitted job that this process is the driver of; None for what was not submitted."""
    config = json.loads(os.environ.get(JOB_CONFIG) or "{}")
    name: str | None = config.get("metadata", {}).get("job_submission_id")
    return name


def _record(**facts: Any) -> str:
    """A line of a log as JSON, with its time and the job that it is of."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "job": submission_id(), **facts}, ensure_ascii=False)


def _number(value: float) -> str:
    """Two digits, or all before the point: megabytes may be few."""
    return f"{value:,.0f}" if value >= 10 or not value else f"{max(value, 0.01):.2g}"


def duration(seconds: float) -> str:
    """Seconds for people: `42 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
