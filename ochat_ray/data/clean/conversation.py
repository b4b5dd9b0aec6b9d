"""The whole journey of one document: a clean conversation comes out, or a reject with its reason."""

from __future__ import annotations

import sys
import traceback
from pathlib import PurePosixPath
from typing import NamedTuple

from ochat_ray.config import FilterConfig
from ochat_ray.conversation import Conversation, Message, Rejected
from ochat_ray.data.clean.markdown import to_markdown
from ochat_ray.data.dedup.exact import text_hash
from ochat_ray.data.filters import Questions, judge
from ochat_ray.data.read.documents import Document
from ochat_ray.data.read.errors import SourceError
from ochat_ray.data.read.json_value import dump_json
from ochat_ray.data.read.source import Source, Turn

DEFAULTS = FilterConfig()


class Cleaned(NamedTuple):
    """What became of a document, and what its source said, where that was understood."""

    record: Conversation | Rejected
    source: Source | None


def clean(document: Document, config: FilterConfig, questions: Questions) -> Cleaned:
    """The conversation in a document, repaired, as Markdown; or why it is turned away.

    All that one document can decide is decided here; copies, models and tokens are not. Never raises.
    """
    source: Source | None = None
    try:
        source = document.understand()
        conversation = _conversation(source, document)
        judged = judge(conversation, config, questions)
    except SourceError as error:
        return Cleaned(_rejected(document, error.reason, error.detail), source)
    except Exception:  # one document must never stop the run
        return Cleaned(_rejected(document, "error", last_line()), source)
    found = judged.conversation
    if judged.reason is None:
        return Cleaned(found, source)
    reject = Rejected(
        found.id, found.source, *judged.reason, found.messages, model=found.model, language=found.language
    )
    return Cleaned(reject, source)


def clean_page(page: bytes, source: str, config: FilterConfig = DEFAULTS) -> Conversation | Rejected:
    """`clean` of one saved page; `source` is its path."""
    return clean(Document(source, page, page=True), config, Questions.NONE).record


def repair(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Turns from the first question to the last answer; an opening system turn is kept.

    A person who opens with nothing has not asked yet; later on, nothing may mean "go on".
    """
    system = turns[:1] if turns and turns[0].role == "system" else ()
    rest = list(turns[len(system) :])
    while rest and (rest[0].role != "user" or not rest[0].value.strip()):
        rest.pop(0)
    while rest and rest[-1].role == "user":
        rest.pop()
    return (*system, *rest)


def last_line() -> str:
    """The exception being handled and the line of code that raised it, on one line."""
    kind, error, trace = sys.exc_info()
    frame = traceback.extract_tb(trace)[-1]
    return " ".join(f"{kind.__name__ if kind else ''}: {error} ({frame.name}, line {frame.lineno})".split())


def _conversation(source: Source, document: Document) -> Conversation:
    # A person's value is plain text and kept byte for byte; only an assistant's is HTML.
    messages = tuple(
        Message(turn.role, to_markdown(turn.value) if turn.html else turn.value, turn.weight)
        for turn in repair(source.turns)
    )
    name = source.id or _name(document, messages)
    return Conversation(name, document.source, messages, model=source.model, condition=source.condition)


def _name(document: Document, messages: tuple[Message, ...]) -> str:
    """An id where the source gives none: a page's file name, or what a record's text makes."""
    if document.page:
        return PurePosixPath(document.source).stem
    return f"text-{text_hash(messages)[:16]}"


def _rejected(document: Document, reason: str, detail: str) -> Rejected:
    raw = document.content if isinstance(document.content, bytes) else dump_json(document.content)
    path = PurePosixPath(document.source)
    name = path.stem if document.page else path.name
    return Rejected(name, document.source, reason, detail, raw=raw)
