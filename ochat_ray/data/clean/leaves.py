"""The smallest parts of an answer: code spans, formulas, links, images. Elements in, Markdown out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

Element = Any  # lxml.etree._Element: lxml has no type stubs

WHITE = " \t\n\r\f"  # white space to HTML and Markdown; no-break and ideographic spaces are text
BACKTICKS = re.compile("`+")
# An address that needs no pointed brackets: no white space, and parentheses in pairs.
PLAIN_ADDRESS = re.compile(r"(?!<)[^\s()]*(?:\([^\s()]*\)[^\s()]*)*")
# Where GFM's footnotes link to, and where they link back to.
FOOTNOTE = "#user-content-fn-"
FOOTNOTE_USE = "#user-content-fnref-"


def text_of(element: Element, *, tail: bool = False) -> str:
    """All text in an element, byte for byte; with its tail, also the text that follows it."""
    text: str = etree.tostring(element, method="text", encoding="unicode", with_tail=tail)
    return text


def after(element: Element, top: Element) -> Iterator[tuple[str, Iterator[Element]]]:
    """What follows an element inside `top`, from its own parent outwards: text, and the elements after it."""
    while element is not top:
        if element.tail or element.getnext() is not None:
            yield element.tail or "", element.itersiblings()
        element = element.getparent()


def display_math(element: Element) -> bool:
    """Whether an element is a formula on lines of its own."""
    names = element.get("class")
    return names is not None and ("math-display" in names or "katex-display" in names)


def tex_of(element: Element) -> str:
    """The TeX of a formula: KaTeX keeps it beside the MathML, and then draws the formula once more."""
    return text_of(next(element.iter("annotation"), element)).strip(WHITE)


def inline_math(element: Element) -> str:
    """A formula within a line; its marks are doubled and kept apart where the TeX holds one."""
    tex = tex_of(element)
    return f"$$ {tex} $$" if "$" in tex else f"${tex}$"


def emphasis(text: str, mark: str) -> str:
    """Text between marks, which must touch its words; nothing is marked in white space."""
    core = text.strip()
    if not core:
        return text
    at = text.index(core)
    return f"{text[:at]}{mark}{core}{mark}{text[at + len(core) :]}"


def link(element: Element, text: str) -> str:
    """A link around its text; the bare address where that is its text, as GFM links those by itself."""
    url = element.get("href")
    if url is None or not text.strip() or (text == url and "://" in url):
        return text
    if url.startswith(FOOTNOTE):
        return f"[^{url.removeprefix(FOOTNOTE)}]"
    if url.startswith(FOOTNOTE_USE):
        return ""
    return f"[{text}]({_target(element, url)})"


def image(element: Element) -> str:
    """An image; nothing where its address is its own bytes, or known to one browser only."""
    url = element.get("src", "")
    if url.startswith(("data:", "blob:")):
        return ""
    return f"![{element.get('alt', '')}]({_target(element, url)})"


def checkbox(element: Element) -> str:
    """The box of a task; nothing for other inputs."""
    if element.get("type") != "checkbox":
        return ""
    return "[ ]" if element.get("checked") is None else "[x]"


def code_span(code: str) -> str:
    """Code between the shortest run of backticks that it does not contain itself (CommonMark 6.1)."""
    fence = "`"
    if fence in code:
        runs = {len(run) for run in BACKTICKS.findall(code)}
        fence *= next(n for n in range(1, len(runs) + 2) if n not in runs)
    if code.strip("`") != code or (code[:1] == code[-1:] == " " and code.strip()):
        code = f" {code} "
    return f"{fence}{code}{fence}" if code else ""


def _target(element: Element, url: str) -> str:
    address = url if PLAIN_ADDRESS.fullmatch(url) else f"<{url}>"
    title = element.get("title", "").replace('"', '\\"')
    return f'{address} "{title}"' if title else address
