"""The conversation in a saved share page: the JSON that Next.js keeps in the script `__NEXT_DATA__`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

from ochat_ray.conversation import Role

# With its tag: text of the page may speak of the id, but cannot hold an unescaped `<`.
SCRIPT = re.compile(rb'<script[^<>]*\sid="__NEXT_DATA__"[^<>]*>')
ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "assistant": "assistant",
    "system": "system",
}


class PageError(Exception):
    """A page, or what is left of it, that cannot be used: the code of a reason and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Turn:
    """One item of a page as it stands: plain text of a person, HTML of an assistant."""

    role: Role
    value: str


@dataclass(frozen=True, slots=True)
class SavedPage:
    """What a page says of its conversation; `id` and `model` are None where it says nothing."""

    id: str | None
    model: str | None
    turns: tuple[Turn, ...]


def read_page(page: bytes) -> SavedPage:
    """The conversation in a page. Raises PageError."""
    props = _page_props(_load(_script(page)))
    content = props.get("content")
    items = content.get("items") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(items, list):
        raise PageError("no_content", "the page holds no conversation: it was not found, or not saved")
    turns = tuple(_turn(number, item) for number, item in enumerate(items, 1))
    return SavedPage(_name(props.get("id")), _name(content.get("model")), turns)


def _script(page: bytes) -> bytes:
    # Inside the script `<` is always written as \u003c, so the first closing tag is the script's own.
    tag = SCRIPT.search(page)
    start = tag.end() if tag else 0
    end = page.find(b"</script", start) if start else -1
    if end >= 0:
        return page[start:end]
    if not page.strip():
        raise PageError("no_data", "the file is empty")
    try:
        page.decode()
    except UnicodeDecodeError as error:
        if not start:
            raise PageError("not_text", f"not UTF-8 text (byte {error.start:,} of {len(page):,})") from None
    if start:
        raise PageError("no_data", f"the page breaks off inside its data, after {len(page):,} bytes")
    raise PageError(
        "no_data", "no __NEXT_DATA__ script: not a saved share page, or saved before it was loaded"
    )


def _load(script: bytes) -> Any:
    try:
        return orjson.loads(script)
    except orjson.JSONDecodeError:
        pass
    try:
        # json takes lone surrogates (halves of a cut emoji), which orjson does not.
        return _replace_surrogates(json.loads(script.decode()))
    except UnicodeDecodeError as error:
        raise PageError(
            "not_text", f"the data is not UTF-8 text (byte {error.start:,} of the script)"
        ) from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise PageError("bad_json", f"the data is not valid JSON: {error}") from None


def _replace_surrogates(value: Any) -> Any:
    """Strings in a JSON value as valid Unicode: halves that belong together joined, others replaced."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {key: _replace_surrogates(item) for key, item in value.items()}
    return value


def _page_props(data: Any) -> dict[str, Any]:
    for key in ("props", "pageProps"):
        data = data.get(key) if isinstance(data, dict) else None
    if not isinstance(data, dict):
        raise PageError("no_content", "the page's data has no props.pageProps")
    return data


def _turn(number: int, item: Any) -> Turn:
    name, value = (item.get("from"), item.get("value")) if isinstance(item, dict) else (None, None)
    role = ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise PageError("bad_item", f"item {number}: from {name!r:.80} is none of {', '.join(ROLES)}")
    if not isinstance(value, str):
        raise PageError("bad_item", f"item {number} ({role}): value is {value!r:.80}, not text")
    return Turn(role, value)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
