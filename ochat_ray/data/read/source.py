"""What a source says of a conversation, before anything is cleaned."""

from __future__ import annotations

from dataclasses import dataclass

from ochat_ray.conversation import Role

ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
    "developer": "system",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn as it stands. `html`: its value is HTML of an assistant's answer, otherwise it is text."""

    role: Role
    value: str
    html: bool = False
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """A conversation as its source states it; what it says nothing of is None."""

    id: str | None
    turns: tuple[Turn, ...]
    model: str | None = None
    condition: str | None = None


def role_of(name: object) -> Role | None:
    """The role that a source calls so, None for no known one."""
    return ROLES.get(name.lower()) if isinstance(name, str) else None


def named(value: object) -> str | None:
    """A name, or None where a source has none, or something else in its place."""
    return value if isinstance(value, str) and value else None
