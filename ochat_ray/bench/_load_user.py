"""What one of Locust's users does (python -m ochat_ray.bench load): reads streamed replies, one by one.

Locust imports this by its path. Each whole reply fires "whole", and its first piece of text "first token",
both in milliseconds.
"""

from __future__ import annotations

import json
import os
import time

import requests
from locust import User, task

REPLY = int(os.environ["OCHAT_LOAD_REPLY"])
"""Tokens of a reply."""


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
        body = {
            "model": "openchat",
            "messages": [
                {"role": "user", "content": f"{id(self)} asks for the {self.turn}th time: what next?"}
            ],
            "max_tokens": REPLY,
            "min_tokens": REPLY,
            "stream": True,
        }
        began = time.perf_counter()
        first, error = None, None
        try:
            with self.session.post(
                f"{self.host}/chat/completions", json=body, stream=True, timeout=120
            ) as reply:
                reply.raise_for_status()
                last = b""
                for line in filter(None, reply.iter_lines(chunk_size=None)):
                    last = line
                    if first is None and _text(line):
                        first = time.perf_counter()
                        self._fire("first token", first - began, None)
                if last != b"data: [DONE]":
                    raise requests.RequestException(f"the stream ended with {last!r}")
        except requests.RequestException as caught:
            error = caught
        self._fire("whole", time.perf_counter() - began, error)

    def _fire(self, name: str, seconds: float, error: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="chat", name=name, response_time=seconds * 1e3, response_length=0, exception=error
        )


def _text(line: bytes) -> str:
    if not line.startswith(b"data: {"):
        return ""
    text: str = json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"].get("content") or ""
    return text
