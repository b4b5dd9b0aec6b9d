"""What goes into the engine and what comes out. Plain records, cheap to send between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

FinishReason = Literal["stop", "length"]


class EngineDeadError(RuntimeError):
    """The engine's loop has ended; the replica must be replaced."""


class OverloadedError(RuntimeError):
    """More requests wait than are allowed to; try again later."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen. `temperature` 0 takes the likeliest.

    The penalties are taken from the logit of each token generated so far: `presence_penalty` once,
    `frequency_penalty` for each time. `logit_bias` is added by token id. Equal seeds draw equally,
    whatever else is running, but differently for each `choice` of one request.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    choice: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generation:
    """A request to the engine. `max_tokens` None: as much as fits."""

    prompt_ids: list[int]
    max_tokens: int | None = None
    sampling: SamplingParams = SamplingParams()


class Chunk(NamedTuple):
    """Tokens that became ready together, the end-of-turn token included; the last has a reason."""

    token_ids: list[int]
    finish_reason: FinishReason | None


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine is doing: requests, room in its cache in tokens, and how long its step takes."""

    running: int
    waiting: int
    free_tokens: int
    cache_tokens: int
