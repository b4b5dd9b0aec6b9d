"""The walk over an answer's tree: blocks made of lines, and the inline content within them."""

from __future__ import annotations

import re
from typing import NamedTuple

from ochat_ray.data.leaves import (
    Element,
    code_block,
    code_span,
    display_math,
    emphasis,
    link,
    tex_of,
    text_of,
)

# fmt: off
SILENT = frozenset({
    "button", "head", "link", "meta", "noscript", "script", "style", "svg", "template", "title",
})
CONTAINERS = frozenset({"article", "body", "div", "form", "html", "main", "section"})
EMPHASIS = {"strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~", "s": "~~"}
PLAIN = frozenset({
    "abbr", "bdi", "cite", "font", "label", "mark", "small", "span", "sub", "sup", "time", "u", "wbr",
})
INLINE = PLAIN | {"a", "br", "code", "img", "input", "math"} | EMPHASIS.keys()
HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
LISTS = ("ul", "ol")
BLOCKS = frozenset({
    "blockquote", "dd", "details", "dl", "dt", "figure", "hr", "li", "p", "pre", "table", "td", "tr",
}) | {*LISTS, *HEADINGS}
# fmt: on

LINE_BREAKS = re.compile(r"\s*\n\s*")
AROUND_MATH = re.compile(r"[ \t]*\n\n+[ \t]*")


class Block(NamedTuple):
    """A piece of Markdown between blank lines. `kind`: text, bare (text in no paragraph), list or code."""

    kind: str
    text: str


class ForeignElement(Exception):
    """An element that ChatGPT does not write, or not there."""


def join(blocks: list[Block]) -> str:
    """The Markdown of blocks."""
    return "\n\n".join(block.text for block in blocks)


def blocks_in(element: Element) -> list[Block]:
    """The blocks in an element: its block children, and its stretches of inline content.

    Raises ForeignElement, and RecursionError in trees deeper than the interpreter allows.
    """
    blocks: list[Block] = []
    run: list[str] = [element.text] if element.text else []
    for child in element:
        tag = child.tag
        if tag in INLINE and not display_math(child):
            _inline_child(child, run)
        elif tag not in SILENT:
            if run:
                _end_run(run, blocks)
            blocks += _block(child, tag)
        if child.tail:
            run.append(child.tail)
    if run:
        _end_run(run, blocks)
    return blocks


def _end_run(run: list[str], blocks: list[Block]) -> None:
    text = "".join(run).strip()
    if text:
        blocks.append(Block("bare", text))
    run.clear()


def _block(element: Element, tag: str) -> list[Block]:
    """The blocks that an element makes up: none where it is empty, several for a container."""
    kind = "text"
    if tag == "p":
        text = _inline(element)
    elif tag == "pre":
        kind, text = "code", code_block(element)
    elif tag in LISTS:
        kind, text = "list", _list(element, tag)
    elif tag in HEADINGS:
        text = LINE_BREAKS.sub(" ", _inline(element))
        text = text and HEADINGS[tag] + text
    elif tag == "table":
        text = _table(element)
    elif tag == "blockquote":
        lines = join(blocks_in(element)).split("\n")
        text = "\n".join(f"> {line}" if line else ">" for line in lines)
    elif tag == "hr":
        text = "---"
    elif display_math(element):
        text = f"$$\n{tex_of(element)}\n$$"
    elif tag in CONTAINERS:
        return blocks_in(element)
    else:
        raise ForeignElement(tag)
    return [Block(kind, text)] if text else []


def _inline(element: Element) -> str:
    """The inline content of a paragraph, heading or cell."""
    text = _inline_raw(element).strip()
    return AROUND_MATH.sub("\n\n", text) if "$$\n" in text else text


def _inline_raw(element: Element) -> str:
    out = [element.text or ""]
    for child in element:
        _inline_child(child, out)
        if child.tail:
            out.append(child.tail)
    return "".join(out)


def _inline_child(element: Element, out: list[str]) -> None:
    """Append the Markdown of a child of inline content, without what follows it, to `out`."""
    tag = element.tag
    if tag == "code":
        out.append(code_span(text_of(element)))
    elif tag in EMPHASIS:
        out.append(emphasis(_inline_raw(element), EMPHASIS[tag]))
    elif tag == "a":
        out.append(link(_inline_raw(element), element.get("href")))
    elif tag == "br":
        out.append("" if (element.tail or "").startswith("\n") else "\n")
    elif tag == "img":
        out.append(f"![{element.get('alt', '')}]({element.get('src', '')})")
    elif tag == "input":
        if element.get("type") == "checkbox":
            out.append("[ ]" if element.get("checked") is None else "[x]")
    elif tag not in SILENT:
        if tag not in INLINE or display_math(element):
            out.append(f"\n\n{join(_block(element, tag))}\n\n")
        elif tag == "math" or "katex" in element.get("class", ""):
            out.append(f"${tex_of(element)}$")
        else:
            out.append(_inline_raw(element))


def _list(element: Element, tag: str) -> str:
    number = element.get("start", "1") if tag == "ol" else None
    items: list[str] = []
    for child in element:
        if child.tag == "li":
            marker = "- " if number is None else f"{_integer(number) + len(items)}. "
            text = _item(blocks_in(child))
            items.append(marker + _indented(text, " " * len(marker)) if text else marker.rstrip())
        elif child.tag in LISTS and items:  # nested without an item of its own
            items[-1] += "\n  " + _indented(_list(child, child.tag), "  ")
        elif child.tag not in SILENT:
            raise ForeignElement(child.tag)
        if (child.tail or "").strip():
            raise ForeignElement("text between list items")
    if (element.text or "").strip():
        raise ForeignElement("text between list items")
    return "\n".join(items)


def _item(blocks: list[Block]) -> str:
    """The blocks of a list item: nested lists follow their text at once, all else after a blank line."""
    text = ""
    for before, block in zip([None, *blocks], blocks, strict=False):
        if before:
            text += "\n" if block.kind == "list" and before.kind in ("text", "bare") else "\n\n"
        text += block.text
    return text


def _indented(text: str, indent: str) -> str:
    """All lines but the first indented, blank ones left blank."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(indent + line if line else "" for line in rest)])


def _integer(text: str) -> int:
    return int(text) if text.strip().isdecimal() else 1


def _table(element: Element) -> str:
    rows = [[_cell(cell) for cell in row if cell.tag in ("th", "td")] for row in element.iter("tr")]
    width = max(map(len, rows), default=0)
    if not width or element.find("caption") is not None:
        raise ForeignElement("table")
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * width}", *lines[1:]])


def _cell(element: Element) -> str:
    return LINE_BREAKS.sub(" ", _inline(element)).replace("|", "\\|")
