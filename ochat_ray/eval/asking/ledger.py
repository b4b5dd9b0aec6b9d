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
from ochat_ray.json_lines import json_line
from ochat_ray.storage import growing


class Ledger:
    """Replies by the key of what was asked. `opened(path)` makes one."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        """Raises DataError for a line that is no exchange."""
        self.path = path
        self._file = file
        self._replies: dict[str, Reply] = {}
        self.cost = 0.0
        """Of all that was ever asked, in the currency of the prices."""
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    self._take(json.loads(line))
                except (ValueError, LookupError, TypeError) as error:
                    raise DataError(
                        f"{path}:{number}: not an exchange ({error!r}); delete the line: it is asked again"
                    ) from None

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, ask: Ask) -> Reply | None:
        return self._replies.get(ask.key)

    def forget(self, ask: Ask) -> None:
        """Have it asked again; what was said stays in the file, and what is said next stands."""
        self._replies.pop(ask.key, None)

    def add(self, ask: Ask, reply: Reply) -> None:
        """Keep an exchange: it survives the end of the process, however that comes. Raises DataError where it
        cannot be written."""
        line = {"key": ask.key, "name": ask.name, "sample": ask.sample, "request": ask.request}
        self._write({**line, "reply": asdict(reply)})
        self._replies[ask.key] = reply
        self.cost += reply.cost

    def lose(self, name: str, cost: float) -> None:
        """Note what a request may have cost whose reply never came."""
        if cost:
            self._write({"lost": cost, "name": name})
            self.cost += cost

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json_line(line))
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be written ({error.strerror}); mend that and run the same command again"
            ) from error

    def _take(self, row: dict[str, Any]) -> None:
        if "lost" in row:
            self.cost += float(row["lost"])
            return
        reply = row["reply"]
        reply["top_logprobs"] = tuple((str(token), float(value)) for token, value in reply["top_logprobs"])
        taken = self._replies[str(row["key"])] = Reply(**reply)
        self.cost += taken.cost


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    """The ledger in a file, made if there is none; a line that a killed process left unfinished is dropped.

    Raises DataError where another process writes to it, and what Ledger raises.
    """
    with growing(path) as file:
        yield Ledger(path, file)
