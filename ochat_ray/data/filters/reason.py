"""What a filter says of a conversation that it turns away."""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """A short stable code to count by, and a sentence for a person."""

    reason: str
    detail: str
