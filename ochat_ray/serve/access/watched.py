"""Keys that are read again when their file changes."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from ochat_ray.errors import ConfigError
from ochat_ray.serve.access.keys import Keys, read_keys

CHECK_EVERY_S = 1.0
log = logging.getLogger("ray.serve")


class WatchedKeys:
    """The keys of a file. One that breaks or vanishes later changes nothing, and is told of once.

    Raises ConfigError where the file cannot be used at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _signature(path)
        self._keys = Keys(read_keys(path).keys)
        self._checked = time.monotonic()

    def current(self) -> Keys:
        """The keys now; looks at the file at most once a second."""
        now = time.monotonic()
        if now - self._checked >= CHECK_EVERY_S:
            self._checked = now
            # Taken before reading, so that what changes meanwhile is read again.
            signature = _signature(self._path)
            if signature != self._seen:
                self._seen = signature
                self._read()
        return self._keys

    def _read(self) -> None:
        try:
            keys = read_keys(self._path).keys
        except ConfigError as error:
            log.error("keys are not read again, the former ones stay: %s", error)
            return
        self._keys = Keys(keys)
        log.warning("%s: read again, %d key(s)", self._path, len(keys))


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file, or None where there is none to see."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
