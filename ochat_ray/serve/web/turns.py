"""Conversations as the chat page's component holds them, and as plain turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from openai.types.chat import ChatCompletionMessageParam


class Turn(NamedTuple):
    """One message."""

    role: str
    content: str


def turns_of(value: Sequence[Any]) -> list[Turn]:
    """The turns in a chatbot's value."""
    return [Turn(message["role"], text_of(message["content"])) for message in value]


def text_of(content: Any) -> str:
    """The text of a message's content, which is text or a list of parts."""
    if isinstance(content, list):
        return "".join(text_of(part) for part in content)
    if isinstance(content, dict):
        content = content.get("text")
    return content if isinstance(content, str) else ""


def value_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """A chatbot's value. Text in parts is left as it is, where plain text would lose its indentation."""
    return [{"role": role, "content": [{"type": "text", "text": content}]} for role, content in turns]


def request_messages(turns: Sequence[Turn], system: str) -> list[ChatCompletionMessageParam]:
    """Turns as the messages of a request."""
    messages: list[ChatCompletionMessageParam] = []
    if system.strip():
        messages.append({"role": "system", "content": system})
    for role, content in turns:
        if role == "user":
            messages.append({"role": "user", "content": content})
        else:
            messages.append({"role": "assistant", "content": content})
    return messages
