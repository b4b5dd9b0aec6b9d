"""How much an engine takes at once."""

from __future__ import annotations

from dataclasses import dataclass

from ochat_ray.errors import RequestError
from ochat_ray.serve.engine.room import Room


@dataclass(frozen=True, slots=True)
class Limits:
    """`context` and `cache_tokens` in tokens, `prefill_chunk` in tokens of a step, the others in requests."""

    context: int
    cache_tokens: int
    max_running: int
    prefill_chunk: int
    max_queued: int

    @property
    def longest(self) -> int:
        """Tokens that one request can have, prompt and reply."""
        return min(self.context, Room(self.cache_tokens).capacity)


def check_prompt(length: int, longest: int, param: str = "messages") -> None:
    """Raises RequestError, with the counts and what to do, for a prompt that leaves no room for a reply."""
    if length >= longest:
        raise RequestError(
            # OpenAI's words, by which clients tell this fault from others.
            f"this model's maximum context length is {longest} tokens, prompt and reply together, but the "
            f"prompt has {length}; shorten it",
            param=param,
            code="context_length_exceeded",
        )
