"""What one of Locust's users does (python -m ochat_ray.bench load): reads streamed replies, one by one.

Locust imports this by its path. Every reply becomes a line of the file that OCHAT_LOAD_TIMES names: when it
was asked for, when its first text and its end came, on the machine's monotonic clock; null where it failed.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import requests
from locust import User, task

REPLY = int(os.environ["OCHAT_LOAD_REPLY"])
"""Tokens of a reply."""
TIMES = Path(os.environ["OCHAT_LOAD_TIMES"])


class Reader(User):
    """Asks the endpoint of --host."""

    def on_start(self) -> None:
        """Each has a connection of its own."""
        self.session = requests.Session()
        self.turn = 0

    @task
    def read(self) -> None:
        """A short question of its own, and a reply of so many tokens."""
        self.turn += 1
        began = time.monotonic()
        times: tuple[float | None, ...]
        try:
            first = self._first_text()
        except (requests.RequestException, LookupError, ValueError):
            times = (began, None, None)
        else:
            times = (began, first, time.monotonic())
        with TIMES.open("a") as out:
            out.write(json.dumps(times) + "\n")

    def _first_text(self) -> float:
        """Read a whole reply; returns when its first text came. Raises RequestException, LookupError and
        ValueError for what is no whole reply."""
        body = {
            "model": "openchat",
            "messages": [
                {"role": "user", "content": f"{id(self)} asks for the {self.turn}th time: what next?"}
            ],
            "max_tokens": REPLY,
            "min_tokens": REPLY,
            "stream": True,
        }
        first, last = None, b""
        with self.session.post(f"{self.host}/chat/completions", json=body, stream=True, timeout=120) as reply:
            reply.raise_for_status()
            for line in filter(None, reply.iter_lines(chunk_size=None)):
                last = line
                if first is None and line.startswith(b"data: {"):
                    delta = json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"]
                    first = time.monotonic() if delta.get("content") else None
        if first is None or last != b"data: [DONE]":
            raise ValueError(f"the stream ended with {last!r}")
        return first
