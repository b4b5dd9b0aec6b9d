"""What visitors think of answers, as JSON Lines that `prepare` reads."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ochat_ray.errors import DataError
from ochat_ray.serve.web.turns import Turn

FILE = "feedback.jsonl"
# Visitors write the file: of a line, and of all. A file that is full is to be moved away.
MAX_BYTES = 2**20
MAX_FILE_BYTES = 2**28


def record(
    turns: Sequence[Turn], index: int, liked: bool, *, conversation: str, model: str, condition: str
) -> dict[str, Any]:
    """The conversation up to the answer that was judged.

    Only an answer that was liked has a weight, so that training learns that one and nothing else; `prepare`
    sets one that was not aside as `nothing_to_learn`.
    """
    messages: list[dict[str, Any]] = []
    for number, (role, content) in enumerate(turns[: index + 1]):
        message: dict[str, Any] = {"role": role, "content": content}
        if role == "assistant":
            message["weight"] = int(liked and number == index)
        messages.append(message)
    found: dict[str, Any] = {"id": f"{conversation}-{index}", "model": model}
    if condition:
        found["condition"] = condition
    return {**found, "liked": liked, "time": int(time.time()), "messages": messages}


def append(folder: Path, line: dict[str, Any]) -> None:
    """Add a line to the file in a folder, which is made. Raises DataError for a long line, OSError else."""
    data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        raise DataError(f"the conversation has {len(data):,} bytes; feedback keeps {MAX_BYTES:,} at most")
    folder.mkdir(parents=True, exist_ok=True)
    # One write to a file opened for appending: lines of several pages never mix.
    file = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        if os.fstat(file).st_size > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, "full; move it away", str(folder / FILE))
        os.write(file, data)
    finally:
        os.close(file)
