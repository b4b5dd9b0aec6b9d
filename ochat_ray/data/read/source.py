"""What a source says of a conversation, before anything is cleaned."""

from __future__ import annotations

import re
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
# How ChatGPT's answers begin where they are HTML, after the browser's `2 / 2`. Markdown that merely contains
# tags, in code or not, begins otherwise.
HTML = re.compile(r"\s*(?:\d{1,3} / \d{1,3}\s*)?<(?:div|p|ol|ul|pre|h[1-6]|table|blockquote)[\s>]")


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


def is_html(value: str) -> bool:
    """Whether an assistant's value is HTML, and not Markdown or text that may speak of tags."""
    return HTML.match(value) is not None


def named(value: object, *, numbers: bool = False) -> str | None:
    """A name, also by a number if `numbers`; None where a source has none, or something else in its place."""
    if numbers and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None
