"""Which conversations are turned away, and why. Pure functions: a reason, or None to keep."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ochat_ray.config import DataConfig
from ochat_ray.conversation import Conversation, Message

FENCED = re.compile(
    r"^[ \t>]*(?:[-*+] |\d+[.)] )?(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)


# Scripts that put no spaces between words: Thai to Lao, Burmese, Khmer, Japanese and Chinese.
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


class Reason(NamedTuple):
    """A short stable code to count by, and a sentence for a person."""

    reason: str
    detail: str


def reason_to_reject(conversation: Conversation, config: DataConfig) -> Reason | None:
    """The first fault of a conversation, of all that can be told from itself alone."""
    messages = conversation.messages
    return (
        too_short(messages, config.min_messages)
        or roles_do_not_alternate(messages)
        or empty_turn(messages)
        or blocked_word(messages, config.blocked_words)
    )


def too_short(messages: tuple[Message, ...], at_least: int) -> Reason | None:
    """Fewer messages than wanted, the system's not counted."""
    count = sum(message.role != "system" for message in messages)
    if count >= at_least:
        return None
    return Reason("too_short", f"{count} messages after repair, fewer than data.min_messages = {at_least}")


def roles_do_not_alternate(messages: tuple[Message, ...]) -> Reason | None:
    """Two turns in a row by one side, or a system message that is not the first."""
    first = 1 if messages[:1] and messages[0].role == "system" else 0
    for number, message in enumerate(messages[first:]):
        wanted = "assistant" if number % 2 else "user"
        if message.role != wanted:
            return Reason("roles", f"message {first + number + 1} is by {message.role}, not by {wanted}")
    return None


def empty_turn(messages: tuple[Message, ...]) -> Reason | None:
    """A message with no text left."""
    for number, message in enumerate(messages, 1):
        if not message.content.strip():
            return Reason("empty_turn", f"message {number} ({message.role}) has no text")
    return None


def blocked_word(messages: tuple[Message, ...], words: tuple[str, ...]) -> Reason | None:
    """One of `words` as a whole word, in any case, outside fenced code."""
    for number, message in enumerate(messages, 1):
        text = message.content.lower()
        if any(word.lower() in text for word in words):  # a cheap no for nearly all messages
            found = _any_word(words).search(FENCED.sub("", message.content))
            if found:
                return Reason("blocked_word", f"message {number} ({message.role}) contains {found[0]!r}")
    return None


def model_not_wanted(model: str | None, wanted: tuple[str, ...]) -> Reason | None:
    """An answering model that is not among the wanted ones; with none named, all are wanted."""
    if not wanted or model in wanted:
        return None
    return Reason(
        "model", f"answered by {model or 'a model that the page does not name'}, not in data.models"
    )


@lru_cache(maxsize=8)
def _any_word(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_whole, words)), re.IGNORECASE)


def _whole(word: str) -> str:
    """A pattern of the word where no letter of its own kind goes on before or after it."""
    return f"(?<!{_letter(word[0])}){re.escape(word)}(?!{_letter(word[-1])})"


def _letter(edge: str) -> str:
    if edge.isascii():
        return "[A-Za-z0-9_]"  # so that Chinese right beside an English word does not hide it
    return r"[^\s\S]" if UNSPACED.match(edge) else r"\w"
