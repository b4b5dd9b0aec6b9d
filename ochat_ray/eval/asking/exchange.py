"""What is asked of a model, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ochat_ray.config.eval import EndpointConfig
from ochat_ray.manifest import digest
from ochat_ray.surrogates import sound

OVERHEAD = 16
"""Tokens that a chat template adds to a message, at most, for bounds of costs."""


@dataclass(frozen=True)
class Ask:
    """A chat-completion request to a model; the same request is asked again as another `sample`."""

    name: str
    """Of the model in this evaluation: the same request to another model is another exchange."""
    request: Mapping[str, Any]
    """Its body."""
    sample: int = 0
    weights: str = ""
    """What tells a model that is a folder from a later one of the same name."""

    @cached_property
    def key(self) -> str:
        """sha256 of all that decides the reply."""
        return digest([self.name, self.request, self.sample, self.weights])

    @property
    def prompt_bytes(self) -> int:
        """Of all messages; no tokenizer makes more tokens of a text than it has bytes."""
        return sum(len(message["content"].encode()) for message in self.request["messages"])

    @property
    def most_input_tokens(self) -> int:
        return self.prompt_bytes + OVERHEAD * len(self.request["messages"])


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's reply, and what it took."""

    text: str
    finish_reason: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    """By the prices of the day, in their currency."""
    top_logprobs: tuple[tuple[str, float], ...] = ()
    """Of the first token: the likeliest tokens and their log-probabilities, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that was not answered, and why."""

    name: str
    """Of the model that was asked."""
    what: str
    """What for, e.g. `question 3, turn 2`."""
    why: str
    refused: bool = False
    """The request itself is at fault, so that asking again is in vain."""


def request_of(
    endpoint: EndpointConfig,
    messages: list[dict[str, str]],
    *,
    temperature: float,
    top_logprobs: int = 0,
) -> dict[str, Any]:
    """The body of a request."""
    request: dict[str, Any] = {
        "model": endpoint.model or endpoint.name,
        "messages": [{**message, "content": sound(message["content"])} for message in messages],
        "temperature": temperature if endpoint.temperature is None else endpoint.temperature,
        "max_tokens": endpoint.max_tokens,
        **endpoint.extra,
    }
    if top_logprobs:
        request.update(logprobs=True, top_logprobs=top_logprobs)
    return request
