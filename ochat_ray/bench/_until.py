"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

PERIOD_S = 0.05


def until(condition: Callable[[], bool], what: str, *, patience_s: float) -> None:
    """Return once the condition holds. Raises RuntimeError naming `what` where it does not in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {patience_s:g} s for {what}")
        time.sleep(PERIOD_S)
