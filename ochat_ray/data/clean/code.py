"""Code blocks, and the bars that pages put over them. Elements in, Markdown out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lxml import etree

from ochat_ray.data.clean.inline import BLOCK_TAGS
from ochat_ray.data.clean.leaves import Element, after, text_of

LANGUAGE = re.compile(r"(?:^|\s)lang(?:uage)?-(\S+)")
LANGUAGE_NAME = re.compile(r"[^\s`]*")
FENCES = re.compile(r"^[ \t]*(`{3,})", re.MULTILINE)
BUTTONS = ("Copy", "Copy code")  # where they are no `button`


class Code(NamedTuple):
    """A fenced code block, empty where there is no code; text that stood over it and is no language; and the
    element of the page that it ends with.
    """

    over: str
    text: str
    end: Element


def code_block(pre: Element) -> Code:
    """The code of a `pre` between fences, with its language where a class or the bar over it names one."""
    for line_break in pre.iter("br"):
        line_break.text = "\n"
    code, button = next(pre.iter("code"), None), next(pre.iter("button"), None)
    bar = _bar(code, pre) if code is not None and button is None else None
    if code is not None and (button is not None or bar is not None or _is_all(code, pre)):
        end, text = code, text_of(code)
    elif button is not None:
        end, text = pre, "".join(_texts_after(button, pre))
    else:
        end, text = pre, text_of(pre).removeprefix("\n")  # HTML drops a line feed that opens a `pre`
    if not text or text.isspace():
        return Code(" ".join(bar or []), "", end)
    language = _language(pre if code is None else code, bar or [], pre)
    over = " ".join(said for said in bar or [] if said.casefold() != language.casefold())
    fence = "```"
    if fence in text:
        fence = "`" * max([3, *(len(run) + 1 for run in FENCES.findall(text))])
    close = fence if text.endswith("\n") else "\n" + fence
    return Code(over, f"{fence}{language}\n{text}{close}", end)


def _is_all(code: Element, pre: Element) -> bool:
    return text_of(code).strip() == text_of(pre).strip()


def _bar(code: Element, pre: Element) -> list[str] | None:
    """What a bar without a button says: the texts over the only code of a `pre`, in lines of their own.

    None where no such text stands over it, so that all of the `pre` is code.
    """
    texts: list[str] = []
    line = ""
    for event, element in etree.iterwalk(pre, events=("start", "end")):
        if element.tag in BLOCK_TAGS:
            line = ""
        if element is code:
            break
        text = ((element.text if event == "start" else element.tail) or "").strip()
        line += text
        texts.append(text)
    if line or not any(texts) or sum(1 for _ in pre.iter("code")) > 1:
        return None
    return [text for text in texts if text and text not in BUTTONS]


def _language(element: Element, bar: list[str], pre: Element) -> str:
    """What the code is in by the class of its element, else by the bar over it."""
    match = LANGUAGE.search(element.get("class", ""))
    language = match[1] if match else bar[0] if len(bar) == 1 else _label(pre)
    return language if LANGUAGE_NAME.fullmatch(language) else ""


def _label(pre: Element) -> str:
    """What the bar over a code block says before its button; nothing where there is none."""
    label = ""
    for element in pre.iter():
        if element.tag == "button":
            return label.strip()
        if element.tag == "code":
            break
        label += element.text or ""
    return ""


def _texts_after(element: Element, top: Element) -> Iterator[str]:
    for text, others in after(element, top):
        yield text
        for other in others:
            yield text_of(other, tail=True)
