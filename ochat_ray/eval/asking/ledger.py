"""Every exchange that was ever finished, in a file that only grows: nothing in it is asked again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from ochat_ray.errors import DataError
from ochat_ray.eval.asking.exchange import Ask, Reply
from ochat_ray.storage import growing


class Ledger:
    """Replies by the key of what was asked. `opened(path)` makes one."""

    def __init__(self, path: Path, replies: dict[str, Reply], file: IO[bytes]) -> None:
        self.path = path
        self._replies = replies
        self._file = file

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, ask: Ask) -> Reply | None:
        return self._replies.get(ask.key)

    def add(self, ask: Ask, reply: Reply) -> None:
        """Keep an exchange: it survives the end of the process, however that comes."""
        line = {"key": ask.key, "name": ask.name, "sample": ask.sample, "request": ask.request}
        text = json.dumps({**line, "reply": asdict(reply)}, ensure_ascii=False)
        # A lone surrogate, which JSON can hold and UTF-8 cannot, stays as an escape.
        self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()
        self._replies[ask.key] = reply


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    """The ledger in a file, made if there is none; a line that a killed process left unfinished is dropped.

    Raises DataError where another process writes to it, or for a line that is no exchange.
    """
    with growing(path) as file:
        yield Ledger(path, _read(path), file)


def _read(path: Path) -> dict[str, Reply]:
    replies: dict[str, Reply] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                replies[row["key"]] = _reply(row["reply"])
            except (ValueError, LookupError, TypeError) as error:
                raise DataError(
                    f"{path}:{number}: not an exchange ({error!r}); delete the line: it is asked again"
                ) from None
    return replies


def _reply(row: dict[str, Any]) -> Reply:
    row["top_logprobs"] = tuple((str(token), float(logprob)) for token, logprob in row["top_logprobs"])
    return Reply(**row)
