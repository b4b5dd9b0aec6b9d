"""The conversation in a saved share page: the JSON that Next.js keeps in the script `__NEXT_DATA__`."""

from __future__ import annotations

import re
from typing import Any

from ochat_ray.data.read.errors import SourceError
from ochat_ray.data.read.json_value import load_json
from ochat_ray.data.read.source import ROLES, Source, Turn, is_html, named, role_of

# With its tag: text of the page may speak of the id, but cannot hold an unescaped `<`.
SCRIPT = re.compile(rb'<script[^<>]*\sid="__NEXT_DATA__"[^<>]*>')


def read_page(page: bytes) -> Source:
    """The conversation in a page. Raises SourceError."""
    props = _page_props(load_json(_script(page)))
    content = props.get("content")
    items = content.get("items") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(items, list):
        raise SourceError("no_content", "the page holds no conversation: it was not found, or not saved")
    turns = tuple(_turn(number, item) for number, item in enumerate(items, 1))
    return Source(named(props.get("id")), turns, named(content.get("model")))


def _script(page: bytes) -> bytes:
    # Inside the script `<` is always written as \u003c, so the first closing tag is the script's own.
    tag = SCRIPT.search(page)
    start = tag.end() if tag else 0
    end = page.find(b"</script", start) if start else -1
    if end >= 0:
        return page[start:end]
    if not page.strip():
        raise SourceError("no_data", "the file is empty")
    try:
        page.decode()
    except UnicodeDecodeError as error:
        if not start:
            raise SourceError("not_text", f"not UTF-8 text (byte {error.start:,} of {len(page):,})") from None
    if start:
        raise SourceError("no_data", f"the page breaks off inside its data, after {len(page):,} bytes")
    raise SourceError(
        "no_data", "no __NEXT_DATA__ script: not a saved share page, or saved before it was loaded"
    )


def _page_props(data: Any) -> dict[str, Any]:
    for key in ("props", "pageProps"):
        data = data.get(key) if isinstance(data, dict) else None
    if not isinstance(data, dict):
        raise SourceError("no_content", "the page's data has no props.pageProps")
    return data


def _turn(number: int, item: Any) -> Turn:
    name, value = (item.get("from"), item.get("value")) if isinstance(item, dict) else (None, None)
    role = role_of(name)
    if role is None:
        raise SourceError("bad_item", f"item {number}: from {name!r:.80} is none of {', '.join(ROLES)}")
    if not isinstance(value, str):
        raise SourceError("bad_item", f"item {number} ({role}): value is {value!r:.80}, not text")
    return Turn(role, value, html=role == "assistant" and is_html(value))
