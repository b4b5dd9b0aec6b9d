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


class OtherTemplateError(RuntimeError):
    """The engine's model was trained with another template or tokenizer than the prompt was rendered by.

    The argument is the folder of the engine's model: while a new one takes over, both answer.
    """

    @property
    def folder(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen. `temperature` 0 takes the likeliest.

    The penalties are taken from the logit of each token generated so far: `presence_penalty` once,
    `frequency_penalty` for each time. `repetition_penalty` divides the logits of tokens of prompt and
    reply, or multiplies negative ones (Keskar et al., CTRL, 2019). `logit_bias` is added by token id.
    `top_k` 0 means all. `min_p` drops tokens that are less likely than this share of the likeliest
    (Nguyen et al., 2024). Equal seeds draw equally, whatever else is running, but differently for each
    `choice` of one request.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    choice: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generation:
    """A request to the engine. `max_tokens` None: as much as fits.

    `stop_ids` end the reply beside the model's own end-of-turn token; before `min_tokens` none of them can
    be chosen. `logprobs`: for each token, its log-probability and those of so many of the likeliest; None
    for none at all. `json_schema`: a JSON Schema, as text, that the reply must follow; "" for any object.
    `pool`: nothing is generated; the answer is the embedding of the prompt. `hold`: all tokens come in one
    chunk, at the end. `template`: what the prompt was rendered by, where the engine is to make sure of it.
    """

    prompt_ids: list[int]
    max_tokens: int | None = None
    min_tokens: int = 0
    stop_ids: frozenset[int] = frozenset()
    sampling: SamplingParams = SamplingParams()
    logprobs: int | None = None
    json_schema: str | None = None
    pool: bool = False
    hold: bool = False
    template: str | None = None


class TokenLogprob(NamedTuple):
    """Natural logarithms of probabilities, of the model's own distribution before anything changes it.

    `top`: the likeliest tokens and theirs, likeliest first.
    """

    logprob: float
    top: list[tuple[int, float]]


class Chunk(NamedTuple):
    """Tokens that became ready together, the end-of-turn token included; the last chunk has a reason.

    `logprobs` goes with `token_ids`, where they were asked for. `cached_tokens`, in the first chunk: tokens
    of the prompt whose keys and values were there already. `embedding`: the mean of the last layer's outputs,
    of length 1, where the prompt was to be pooled.
    """

    token_ids: list[int]
    finish_reason: FinishReason | None
    logprobs: list[TokenLogprob] | None = None
    cached_tokens: int = 0
    embedding: list[float] | None = None


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine is doing now, in requests and in tokens of its cache, and what it has done so far."""

    running: int
    waiting: int
    free_tokens: int
    cache_tokens: int
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0
