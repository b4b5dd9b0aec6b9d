"""Arithmetic of the sliding window: what is used up, when there is room again, and OpenAI's words for it.

Counts of the running minute and of the one before are kept; the latter weighs less as time goes on. This is
what `limits` calls a sliding window counter, whose size does not grow with what it counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Window:
    """Counts of the minute before and of the running one, and the seconds for which each still counts."""

    previous: int = 0
    previous_s: float = 0.0
    current: int = 0
    current_s: float = 0.0

    @property
    def used(self) -> int:
        """What counts now."""
        return math.floor(self.previous * self.previous_s / MINUTE_S + self.current)

    @property
    def empty_s(self) -> float:
        """Seconds until nothing counts any more."""
        return self.current_s if self.current else self.previous_s if self.previous else 0.0

    def room_s(self, limit: int) -> float:
        """Seconds until less than `limit` counts, if nothing is added."""
        if self.used < limit:
            return 0.0
        if self.current < limit:  # then it is the minute before that must weigh less
            return max(0.0, self.previous_s - (limit - self.current) * MINUTE_S / self.previous)
        # The running minute has to end first, and then to weigh less.
        return max(0.0, self.current_s - limit * MINUTE_S / self.current)

    def plus(self, amount: int) -> Window:
        """With more in the running minute."""
        if not amount:
            return self
        until = self.current_s or 2.0 * MINUTE_S
        return Window(self.previous, self.previous_s, self.current + amount, until)


def headers(kind: str, limit: int, window: Window) -> list[tuple[bytes, bytes]]:
    """OpenAI's headers of a limit; `kind` is requests or tokens."""
    values = {
        "limit": str(limit),
        "remaining": str(max(0, limit - window.used)),
        "reset": duration(window.empty_s),
    }
    return [(f"x-ratelimit-{what}-{kind}".encode(), value.encode()) for what, value in values.items()]


def duration(seconds: float) -> str:
    """As OpenAI writes it: 250ms, 7.66s, 1m30s. Never too short."""
    whole_ms = math.ceil(seconds * 1000)
    if whole_ms < 1000:
        return f"{whole_ms}ms"
    minutes, rest_ms = divmod(whole_ms, 60_000)
    rest = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def retry_after(seconds: float) -> str:
    """The value of Retry-After: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))
