"""What one request came to, for limits, logs and metrics."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from ochat_ray.serve.protocol.chat import ChatRequest
from ochat_ray.serve.protocol.common import Body
from ochat_ray.serve.protocol.completions import CompletionRequest
from ochat_ray.serve.replies import Piece


class Account:
    """Counts as pieces come; keeps `entry`, which the layers around the routes read, up to date.

    With `contents` it keeps texts too.
    """

    def __init__(self, entry: MutableMapping[str, Any], *, contents: bool = False) -> None:
        self.entry = entry
        self._contents = contents
        self._began = time.monotonic()
        self._prompt = self._completion = 0
        self._choices = 1
        self._cached: dict[int, int] = {}  # by prompt
        self._seen: set[int] = set()
        self._texts: list[str] = []

    def keep(self, asked: Body) -> None:
        """Note what was asked, where contents are kept."""
        if not self._contents:
            return
        if isinstance(asked, ChatRequest):
            texts = [{"role": one.role, "content": one.content or ""} for one in asked.messages]
        elif isinstance(asked, CompletionRequest):
            texts = [
                {"role": "user", "content": one if isinstance(one, str) else str(one)} for one in asked.prompt
            ]
        else:
            return
        self.entry["messages"] = texts

    def begin(self, model: str, prompt_tokens: int, *, choices: int = 1, prompts: int = 1) -> None:
        """A prompt was rendered, or rendered again for another template; `prompts` with `choices` each."""
        self._prompt = prompt_tokens
        self._choices = choices
        self._texts = [""] * (choices * prompts)
        self.entry["model"] = model
        self.entry["prompt_tokens"] = prompt_tokens  # computed, whatever becomes of the reply

    def add(self, piece: Piece) -> None:
        """Count a piece of a reply."""
        if not self._completion and self.entry.get("stream"):
            self.entry["first_token_s"] = time.monotonic() - self._began
        # Of several choices the later ones find what the first has computed just now.
        prompt = piece.index // self._choices
        if piece.index not in self._seen:
            self._seen.add(piece.index)
            self._cached[prompt] = min(piece.cached, self._cached.get(prompt, piece.cached))
        self._completion += piece.tokens
        if piece.finish_reason is not None:
            self.entry["finish_reason"] = piece.finish_reason
        self.entry["prompt_tokens"], self.entry["completion_tokens"], self.entry["cached_tokens"] = (
            self.tokens
        )
        if self._contents:
            self._texts[piece.index] += piece.text
            self.entry["reply"] = self._texts

    @property
    def tokens(self) -> tuple[int, int, int]:
        """Of the prompts, of the replies, and of the prompts those that were known already."""
        return self._prompt, self._completion, sum(self._cached.values())
