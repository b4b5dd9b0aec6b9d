"""What a preparation came to, where that is not what anybody wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ochat_ray.data.reasons import MEANINGS
from ochat_ray.errors import DataError


def require_kept(counts: Mapping[str, Any], output: str) -> None:
    """Raises DataError with the most frequent reason, and what to do about it, where nothing was kept."""
    if counts["kept"]:
        return
    if not counts["rejected"]:
        raise DataError(f"{output}: nothing kept: the input holds no documents; give chats")
    reason, times = max(counts["rejected"].items(), key=lambda item: (item[1], item[0] == "model"))
    most = f"{output}: nothing kept: {times:,} of {counts['documents']:,}"
    if reason == "model":
        raise DataError(f"{most} name no model, or one not wanted; keep all with data.filters.models=[]")
    see = f"`ochat-ray inspect {output} --rejected {reason}`"
    raise DataError(f"{most} are turned away as {reason} ({MEANINGS[reason].rstrip('.')}); see {see}")


def nothing_held_out(counts: Mapping[str, Any]) -> bool:
    """Whether conversations were kept, but none of them to evaluate on."""
    return bool(counts["kept"]) and not any(of["eval"]["conversations"] for of in counts["tokens"].values())
