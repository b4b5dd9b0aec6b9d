"""The records that every stage speaks: messages, conversations, rejects and rendered token rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `weight` scales the loss on an assistant's text; other roles never carry loss."""

    role: Role
    content: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Conversation:
    """A whole conversation in order.

    `id` is the share id (stable between saves), `source` where it came from (a file, or a file and a
    line in it), `model` the label of the model that answered as the source states it (None where it
    says nothing), `condition` the class that conditioned model types put into their prefixes (None: the
    model type's default), `language` the ISO 639 code of its text (None: not looked at yet).
    """

    id: str
    source: str
    messages: tuple[Message, ...]
    model: str | None = None
    condition: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A conversation or document that was turned away, kept with why.

    `reason` is a short stable code to count by (`no_data`, `blocked_word`, ...), `detail` a sentence
    for a person. `messages` is what had been understood by then; `raw` the bytes where nothing had.
    """

    id: str
    source: str
    reason: str
    detail: str
    messages: tuple[Message, ...] = ()
    raw: bytes | None = None
    model: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids of a conversation and the loss weight of each, both of length T."""

    input_ids: list[int]
    weights: list[float]
