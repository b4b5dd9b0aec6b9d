"""Saved pages for tests, of the fewest parts that make one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Item = tuple[Any, Any]

DIV = '<div class="markdown prose w-full break-words dark:prose-invert light">'


def answer(html: str) -> str:
    """The value of an assistant's item."""
    return f"{DIV}{html}</div>"


def saved_page(items: Sequence[Item], id: str = "abc1234", model: str | None = "Model: GPT-4") -> bytes:
    """A page with items of (from, value); `<` is escaped in the data as the server does."""
    content: dict[str, Any] = {"title": "t", "items": [{"from": who, "value": value} for who, value in items]}
    if model is not None:
        content["model"] = model
    return page_with({"props": {"pageProps": {"id": id, "content": content, "views": 1}}})


def page_with(data: Any) -> bytes:
    """A page around the data of its script."""
    text = data if isinstance(data, str) else json.dumps(data).replace("<", "\\u003c")
    script = f'<script id="__NEXT_DATA__" type="application/json">{text}</script>'
    return f"<!DOCTYPE html><html><head></head><body><div></div>{script}</body></html>".encode()
