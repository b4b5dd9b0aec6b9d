"""Length, roles, empty turns and models: what no text needs to be read for."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from ochat_ray.config.filters import LengthConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.reason import Reason

Messages = tuple[Message, ...]


def wrong_length(messages: Messages, config: LengthConfig) -> Reason | None:
    """Fewer or more messages or characters than wanted, the system's not counted."""
    spoken = [message for message in messages if message.role != "system"]
    if len(spoken) < config.min_messages:
        wanted = f"fewer than filters.length.min_messages = {config.min_messages}"
        return Reason("too_short", f"{len(spoken)} messages after repair, {wanted}")
    if config.max_messages is not None and len(spoken) > config.max_messages:
        wanted = f"more than filters.length.max_messages = {config.max_messages}"
        return Reason("too_long", f"{len(spoken)} messages after repair, {wanted}")
    if config.min_answer_chars:
        answers = sum(len(message.content) for message in spoken if message.role == "assistant")
        if answers < config.min_answer_chars:
            wanted = f"fewer than filters.length.min_answer_chars = {config.min_answer_chars:,}"
            return Reason("too_short", f"{answers:,} characters of answers, {wanted}")
    if config.max_chars is not None:
        chars = sum(len(message.content) for message in spoken)
        if chars > config.max_chars:
            wanted = f"more than filters.length.max_chars = {config.max_chars:,}"
            return Reason("too_long", f"{chars:,} characters, {wanted}")
    return None


def roles_do_not_alternate(messages: Messages) -> Reason | None:
    """Two turns in a row by one side, or a system message that is not the first."""
    first = 1 if messages[:1] and messages[0].role == "system" else 0
    for number, message in enumerate(messages[first:]):
        wanted = "assistant" if number % 2 else "user"
        if message.role != wanted:
            return Reason("roles", f"message {first + number + 1} is by {message.role}, not by {wanted}")
    return None


def empty_answer(messages: Messages) -> Reason | None:
    """An answer with no text left. People may say nothing: they sent a picture, or pressed a key."""
    for number, message in enumerate(messages, 1):
        if message.role == "assistant" and not message.content.strip():
            return Reason("empty_answer", f"message {number} (assistant) has no text")
    return None


def model_not_wanted(model: str | None, wanted: tuple[str, ...]) -> Reason | None:
    """An answering model that no pattern fits; with no patterns, all are wanted."""
    if not wanted or is_model(model, wanted):
        return None
    return Reason(
        "model", f"answered by {model or 'a model that the source does not name'}, not in filters.models"
    )


def is_model(model: str | None, patterns: tuple[str, ...]) -> bool:
    """Whether a label fits a pattern: exactly but for `*` (any text) and `?`; only `*` fits no label."""
    if model is None:
        return "*" in patterns
    return _any_of(patterns).match(model) is not None


@lru_cache(maxsize=64)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    # Brackets are text: labels such as `Model: Default [3.5]` are meant as they stand.
    escaped = [re.sub(r"\[", "[[]", pattern) for pattern in patterns]
    return re.compile("|".join(translate(pattern) for pattern in escaped) or r"(?!)")
