"""The whole journey of one page: bytes in, a clean conversation or a reject with its reason out."""

from __future__ import annotations

import sys
import traceback
from pathlib import PurePath

from ochat_ray.config import DataConfig
from ochat_ray.conversation import Conversation, Message, Rejected
from ochat_ray.data.filters import reason_to_reject
from ochat_ray.data.markdown import to_markdown
from ochat_ray.data.page import PageError, SavedPage, Turn, read_page

DEFAULTS = DataConfig()


def clean_page(page: bytes, source: str, config: DataConfig = DEFAULTS) -> Conversation | Rejected:
    """The conversation in a saved page, repaired, as Markdown; or why it is turned away.

    `source` is the page's path, which names it and, where the page itself does not, its conversation.
    All that one page can decide is decided here; copies, models and lengths are not. Never raises.
    """
    name = PurePath(source).stem
    try:
        saved = read_page(page)
    except PageError as error:
        return Rejected(name, source, error.reason, error.detail, raw=page)
    except Exception:  # one page must never stop the run
        return Rejected(name, source, "error", last_line(), raw=page)
    name = saved.id or name
    try:
        conversation = _conversation(saved, name, source)
        found = reason_to_reject(conversation, config)
    except Exception:
        return Rejected(name, source, "error", last_line(), raw=page)
    if found is None:
        return conversation
    return Rejected(name, source, found.reason, found.detail, conversation.messages)


def repair(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Turns from the first human one to the last assistant one; an opening system turn is kept."""
    system = turns[:1] if turns and turns[0].role == "system" else ()
    rest = list(turns[len(system) :])
    while rest and rest[0].role != "user":
        rest.pop(0)
    while rest and rest[-1].role == "user":
        rest.pop()
    return (*system, *rest)


def last_line() -> str:
    """The exception being handled and the line of code that raised it, on one line."""
    kind, error, trace = sys.exc_info()
    frame = traceback.extract_tb(trace)[-1]
    return " ".join(f"{kind.__name__ if kind else ''}: {error} ({frame.name}, line {frame.lineno})".split())


def _conversation(saved: SavedPage, name: str, source: str) -> Conversation:
    # A person's value is plain text and kept byte for byte; only an assistant's is HTML.
    messages = tuple(
        Message(turn.role, to_markdown(turn.value) if turn.role == "assistant" else turn.value)
        for turn in repair(saved.turns)
    )
    return Conversation(name, source, messages, model=saved.model)
