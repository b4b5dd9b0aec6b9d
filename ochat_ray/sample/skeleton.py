"""The page around a conversation: what Next.js sent, with the data script that the cleaning reads."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ochat_ray.sample.html import escape, escape_attribute

_ROW = "relative dark:bg-[#343541] text-gray-700 w-full border-b dark:border-gray-700 border-gray-200"
_COLUMN = "relative mx-auto max-w-screen-xl dark:text-gray-100 text-gray-700 w-full px-4 py-10"
_FLEX = "w-full max-w-screen-md flex flex-1 mx-auto gap-[1.5rem] leading-[1.75] whitespace-pre-wrap"
_HUMANS = ("human", "user")
Item = dict[str, Any]


@dataclass(frozen=True)
class Save:
    """One saved page: its share id, title, the model's label and the turns as the site stored them."""

    id: str
    title: str
    model: str | None
    items: tuple[Item, ...]

    def with_items(self, items: Iterable[Item]) -> Save:
        """The same page with other turns."""
        return replace(self, items=tuple(items))

    def number(self, below: int) -> int:
        """A number that depends on the id alone, for what differs from page to page."""
        return int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:4], "big") % below

    @property
    def avatar(self) -> str:
        """A data URL, as long as a small picture's would be; the bytes mean nothing."""
        noise = b"".join(hashlib.sha256(f"{self.id} {i}".encode()).digest() for i in range(24))
        return "data:image/jpeg;base64," + b64encode(noise).decode()


def page(save: Save) -> str:
    """The whole page."""
    content: dict[str, Any] = {"title": save.title, "avatarUrl": save.avatar}
    if save.model is not None:
        content["model"] = save.model
    content["items"] = list(save.items)
    props = {"id": save.id, "content": content, "views": save.number(60) + 1, "comments": []}
    return page_around(save, script(next_data(save.id, props)))


def next_data(page_id: str, props: dict[str, Any]) -> str:
    """The JSON in the data script."""
    data = {
        "props": {"pageProps": props, "__N_SSG": True},
        "page": "/c/[id]",
        "query": {"id": page_id},
        "buildId": "sample",
        "isFallback": False,
        "gsp": True,
        "scriptLoader": [],
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def script(data: str) -> str:
    """The data script; markup inside it is escaped so that it cannot end the script."""
    for character in "<>&\u2028\u2029":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return f'<script id="__NEXT_DATA__" type="application/json">{data}</script>'


def page_around(save: Save, data_script: str) -> str:
    """Head and visible body for `data_script`."""
    return (
        f'<!DOCTYPE html><html lang="en">{_head(save)}<body class="bg-gray-50"><div id="__next">'
        '<div class="flex flex-col items-center pb-24 dark:bg-[#343541] min-h-screen">'
        f"{_model_bar(save.model)}{''.join(_turn(save, i) for i in range(len(save.items)))}</div></div>"
        f"{data_script}</body></html>"
    )


def _head(save: Save) -> str:
    values = [str(item.get("value")) for item in save.items[:2]] + ["undefined", "undefined"]
    about = escape_attribute(
        "This is a conversation between a human and a GPT-3 chatbot. "
        f"The human first asks: {values[0]}. The GPT-3 chatbot then responds: {values[1]}"
    )
    title = escape_attribute(f"{save.title} - A ShareGPT conversation")
    link = f"https://sharegpt.com/c/{save.id}"
    return (
        '<head><meta charSet="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f'<title>{title}</title><meta name="description" content="{about}"/>'
        f'<link rel="canonical" href="{link}"/><link rel="manifest" href="/site.webmanifest"/>'
        f'<meta property="og:title" content="{title}"/><meta property="og:description" content="{about}"/>'
        f'<meta name="twitter:title" content="{title}"/><meta name="twitter:description" content="{about}"/>'
        f'<meta name="twitter:player" content="{link}?card=1"/>'
        '<link rel="stylesheet" href="/_next/static/css/sample.css" data-n-g=""/>'
        '<noscript data-n-css=""></noscript>'
        '<script src="/_next/static/chunks/main-sample.js" defer=""></script></head>'
    )


def _model_bar(model: str | None) -> str:
    if not model:
        return ""
    return (
        '<div class="bg-gray-100 dark:bg-[#434654] w-full text-center text-gray-500 dark:text-gray-300 p-3">'
        f"{escape(model)}</div>"
    )


def _turn(save: Save, index: int) -> str:
    item = save.items[index]
    value = str(item.get("value", ""))
    if item.get("from") in _HUMANS:
        face = (
            f'<img alt="Avatar of the person chatting" src="{save.avatar}" width="28" height="28" '
            'decoding="async" data-nimg="1" class="mr-2 rounded-sm h-[28px]" loading="lazy"/>'
        )
        said = f'<p class="pb-2 whitespace-prewrap">{escape_attribute(value)}</p>'
    else:
        face = (
            '<div class="bg-[#10A37F] flex items-center justify-center h-[30px] w-[30px] rounded-sm"></div>'
        )
        said = f'<div class="utils_response__b5jEi">{value}</div>'
    return (
        f'<div id="{index}" class="{_ROW}"><div class="{_COLUMN}"><div class="{_FLEX}">{face}'
        f'<div class="flex flex-col">{said}</div></div></div></div>'
    )
