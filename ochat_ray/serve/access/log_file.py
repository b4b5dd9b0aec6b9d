"""JSON Lines files that a thread writes, so that requests never wait for the disk.

A process takes the first number whose lock no other has. So those on one machine never share a file, and one
that is started again goes on with the files of the one before, which bounds how many there are.
"""

from __future__ import annotations

import atexit
import json
import logging
import queue
import socket
import time
from collections.abc import Mapping
from logging.handlers import QueueListener, RotatingFileHandler
from pathlib import Path
from typing import IO, Any

from ochat_ray.errors import ConfigError
from ochat_ray.storage import lock_file

MB = 10**6
WAITING = 10_000  # lines; more are dropped while the disk stands still
TELL_EVERY_S = 60.0
log = logging.getLogger("ray.serve")


class LogFile:
    """Lines of JSON, written in order in the background.

    Raises ConfigError where the folder cannot be written to.
    """

    def __init__(self, path: Path, *, max_mb: float, backups: int) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.path, self._lock = _own_file(path)
            handler = _Handler(
                self.path,
                maxBytes=int(max_mb * MB),
                backupCount=backups,
                encoding="utf-8",
                errors="backslashreplace",  # a lone surrogate becomes JSON's own escape of it
            )
        except OSError as error:
            raise ConfigError(f"log.path {path}: cannot be written ({error.strerror})") from error
        self._queue: queue.Queue[logging.LogRecord] = queue.Queue(WAITING)
        self._listener = _Listener(self._queue, handler)
        self._listener.start()
        self._handler = handler
        self._told_at = -TELL_EVERY_S
        atexit.register(self.close)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Write a line, soon; a full queue drops it."""
        try:
            self._queue.put_nowait(logging.makeLogRecord({"msg": entry}))
        except queue.Full:
            if time.monotonic() - self._told_at >= TELL_EVERY_S:
                self._told_at = time.monotonic()
                log.error("%s: lines are lost, the disk does not keep up", self.path)

    def close(self) -> None:
        """Write what waits, and end. Lines that come later are lost."""
        atexit.unregister(self.close)
        if not self._lock.closed:
            self._listener.stop()
            self._handler.close()
            self._lock.close()


class _Listener(QueueListener):
    def __init__(self, lines: queue.Queue[Any], handler: logging.Handler) -> None:
        super().__init__(lines, handler)
        self._lines = lines

    def enqueue_sentinel(self) -> None:
        self._lines.put(None)  # waits where it is full: else the thread would not end

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Here and not in the handler, which asks for the text twice."""
        record.msg = json.dumps(record.msg, ensure_ascii=False, separators=(",", ":"), default=str)
        return record


class _Handler(RotatingFileHandler):
    _told_at = -TELL_EVERY_S

    def format(self, record: logging.LogRecord) -> str:
        return str(record.msg)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        if time.monotonic() - self._told_at >= TELL_EVERY_S:
            self._told_at = time.monotonic()
            log.exception("%s: a line is lost", self.baseFilename)


def _own_file(path: Path) -> tuple[Path, IO[str]]:
    number = 0
    while True:
        own = path.with_name(f"{path.stem}-{socket.gethostname()}-{number}{path.suffix}")
        lock = lock_file(own.with_name(f".{own.name}.lock"))
        if lock is not None:
            return own, lock
        number += 1
