"""The conversation in a record of a JSON export, a JSON Lines file or a Parquet table.

Records hold a list of turns under one of the names in `LISTS`: ShareGPT exports `conversations` of
{from, value}, OpenAI `messages` of {role, content}, OpenChat `items` of {role, content, weight} beside
`system` and `condition`. Which keys a turn has is looked at for each, so mixtures are understood too.
"""

from __future__ import annotations

from typing import Any

from ochat_ray.conversation import Role
from ochat_ray.data.read.errors import SourceError
from ochat_ray.data.read.json_value import load_json
from ochat_ray.data.read.source import ROLES, Source, Turn, is_html, named, role_of

LISTS = ("messages", "conversations", "conversation", "items")
FACTS = ("id", "conversation_id", "model", "condition", "system", "content")
MAX_WEIGHT = 1e6  # more is a mistake, and in float32, times the weight of a class, no number any more


def read_record(record: Any) -> Source:
    """The conversation in a record. Raises SourceError."""
    if not isinstance(record, dict):
        raise SourceError("unknown_record", f"a {_kind(record)}, not an object with {_either(LISTS)}")
    inner = record.get("content")
    if isinstance(inner, dict) and not any(record.get(name) for name in LISTS):
        record = {**inner, **{name: record[name] for name in ("id", "model") if record.get(name)}}
    there = [name for name in LISTS if record.get(name) is not None]
    if not there:
        keys = ", ".join(map(str, record)) or "no keys"
        raise SourceError("unknown_record", f"has none of {_either(LISTS)}, but {keys:.200}")
    name = next((name for name in there if record[name]), there[0])
    turns = record[name]
    if isinstance(turns, str):  # a table's column of JSON
        turns = load_json(turns.encode())
    if not isinstance(turns, list):
        raise SourceError("unknown_record", f"{name} is a {_kind(turns)}, not a list of turns")
    found = tuple(_turn(number, turn, may_be_html=name != "messages") for number, turn in enumerate(turns, 1))
    system = named(record.get("system"))
    if system is not None and not (found and found[0].role == "system"):
        found = (Turn("system", system), *found)
    return Source(
        named(record.get("id"), numbers=True) or named(record.get("conversation_id"), numbers=True),
        found,
        named(record.get("model")),
        named(record.get("condition")),
    )


def _turn(number: int, turn: Any, *, may_be_html: bool) -> Turn:
    if not isinstance(turn, dict):
        raise SourceError("bad_item", f"turn {number}: a {_kind(turn)}, not an object")
    name = turn.get("role") if turn.get("role") is not None else turn.get("from")
    role = role_of(name)
    if role is None:
        raise SourceError("bad_item", f"turn {number}: role {name!r:.80} is none of {', '.join(ROLES)}")
    text = _text(number, role, turn.get("content") if turn.get("content") is not None else turn.get("value"))
    html = may_be_html and role == "assistant" and is_html(text)
    return Turn(role, text, html, _weight(number, turn.get("weight")))


def _text(number: int, role: Role, value: Any) -> str:
    """A turn's text, joined from its parts where it comes in parts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise SourceError("bad_item", f"turn {number} ({role}): the text is {value!r:.80}, not text")
    texts = []
    for part in value:
        text = part.get("text") if isinstance(part, dict) else part
        if not isinstance(text, str):
            raise SourceError("bad_item", f"turn {number} ({role}): a part is {part!r:.80}, not text")
        texts.append(text)
    return "".join(texts)


def _weight(number: int, value: Any) -> float:
    if value is None:
        return 1.0
    if not isinstance(value, int | float) or not 0 <= value <= MAX_WEIGHT:
        raise SourceError(
            "bad_item", f"turn {number}: weight {value!r:.80} is no number from 0 to {MAX_WEIGHT:,.0f}"
        )
    return float(value)


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
