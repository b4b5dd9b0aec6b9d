"""An assistant's HTML, as ChatGPT rendered it, back to the Markdown it was made from.

One parse by libxml2 and one walk over the tree. Code and TeX come out byte for byte, and nothing in
text is escaped. HTML with elements that ChatGPT never wrote goes to markdownify instead.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import markdownify
from lxml import etree

from ochat_ray.data import noise

Element = Any  # lxml.etree._Element: lxml has no type stubs

# libxml2 silently drops what is nested deeper than 2,048 elements; the walk takes a frame or two for each.
MAX_DEPTH = 2048
RECURSION_LIMIT = 4 * MAX_DEPTH
PARSER = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)

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

TAGS = "|".join(sorted(SILENT | CONTAINERS | INLINE | BLOCKS))
TAG = re.compile(rf"</?(?:{TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
LANGUAGE = re.compile(r"(?:^|\s)lang(?:uage)?-(\S+)")
LANGUAGE_NAME = re.compile(r"[^\s`]*")
FENCES = re.compile(r"^[ \t]*(`{3,})", re.MULTILINE)
BACKTICKS = re.compile("`+")
LINE_BREAKS = re.compile(r"\s*\n\s*")
AROUND_MATH = re.compile(r"[ \t]*\n\n+[ \t]*")


class Block(NamedTuple):
    """A piece of Markdown between blank lines. `kind`: text, bare (text in no paragraph), list or code."""

    kind: str
    text: str


class ForeignElement(Exception):
    """An element that ChatGPT does not write, or not there."""


def to_markdown(value: str) -> str:
    """Markdown of an assistant's HTML. Text without any tag is unescaped and otherwise left as it is.

    Takes malformed HTML. Raises RecursionError for elements nested thousands deep.
    """
    if not TAG.search(value):
        return noise.strip_footer(html.unescape(value)).strip()
    with _deep_recursion():
        tree = _parse(value)
        try:
            blocks = None if tree is None else _blocks(tree)
        except ForeignElement:
            blocks = None
        text = _markdownify(value) if blocks is None else _join(_without_noise(blocks))
    return noise.strip_footer(text)


def _parse(value: str) -> Element | None:
    """The tree, or None where libxml2 gave up on the depth."""
    tree = etree.fromstring(value.encode(), PARSER)
    if value.count("<") > MAX_DEPTH and any("depth" in error.message for error in PARSER.error_log):
        return None
    return tree


@contextmanager
def _deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _markdownify(value: str) -> str:
    text: str = markdownify.markdownify(
        noise.strip_marker(value),
        heading_style="ATX",
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        strip=["button", "svg", "style", "script"],
    )
    return text.strip()


def _without_noise(blocks: list[Block]) -> list[Block]:
    kept = [block for block in blocks if block.kind != "bare" or not noise.is_noise(block.text)]
    return kept or blocks


def _join(blocks: list[Block]) -> str:
    return "\n\n".join(block.text for block in blocks)


def _blocks(element: Element) -> list[Block]:
    """The blocks in an element: its block children, and its stretches of inline content."""
    blocks: list[Block] = []
    run: list[str] = [element.text] if element.text else []
    for child in element:
        tag = child.tag
        if tag in INLINE and not _display_math(child):
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
        kind, text = "code", _code_block(element)
    elif tag in LISTS:
        kind, text = "list", _list(element, tag)
    elif tag in HEADINGS:
        text = LINE_BREAKS.sub(" ", _inline(element))
        text = text and HEADINGS[tag] + text
    elif tag == "table":
        text = _table(element)
    elif tag == "blockquote":
        lines = _join(_blocks(element)).split("\n")
        text = "\n".join(f"> {line}" if line else ">" for line in lines)
    elif tag == "hr":
        text = "---"
    elif _display_math(element):
        text = f"$$\n{_tex(element)}\n$$"
    elif tag in CONTAINERS:
        return _blocks(element)
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
        out.append(_code_span(_text(element)))
    elif tag in EMPHASIS:
        out.append(_emphasis(_inline_raw(element), EMPHASIS[tag]))
    elif tag == "a":
        out.append(_link(_inline_raw(element), element.get("href")))
    elif tag == "br":
        out.append("" if (element.tail or "").startswith("\n") else "\n")
    elif tag == "img":
        out.append(f"![{element.get('alt', '')}]({element.get('src', '')})")
    elif tag == "input":
        if element.get("type") == "checkbox":
            out.append("[ ]" if element.get("checked") is None else "[x]")
    elif tag not in SILENT:
        if tag not in INLINE or _display_math(element):
            out.append(f"\n\n{_join(_block(element, tag))}\n\n")
        elif tag == "math" or "katex" in element.get("class", ""):
            out.append(f"${_tex(element)}$")
        else:
            out.append(_inline_raw(element))


def _display_math(element: Element) -> bool:
    names = element.get("class")
    return names is not None and ("math-display" in names or "katex-display" in names)


def _tex(element: Element) -> str:
    """The TeX of a formula: KaTeX keeps it beside the MathML, and then draws the formula once more."""
    for annotation in element.iter("annotation"):
        return _text(annotation).strip()
    return _text(element).strip()


def _text(element: Element) -> str:
    text: str = etree.tostring(element, method="text", encoding="unicode", with_tail=False)
    return text


def _emphasis(text: str, mark: str) -> str:
    core = text.strip()
    if not core:
        return text
    at = text.index(core)  # the marks must touch the words
    return f"{text[:at]}{mark}{core}{mark}{text[at + len(core) :]}"


def _link(text: str, url: str | None) -> str:
    if url is None or not text.strip():
        return text
    return f"<{url}>" if text == url and "://" in url else f"[{text}]({url})"


def _code_span(code: str) -> str:
    """Code between the shortest run of backticks that it does not contain itself (CommonMark 6.1)."""
    if not code:
        return ""
    runs = {len(run) for run in BACKTICKS.findall(code)}
    fence = "`" * next(n for n in range(1, len(runs) + 2) if n not in runs)
    padded = code.strip("`") != code or (code[:1] == code[-1:] == " " and code.strip())
    return f"{fence} {code} {fence}" if padded else f"{fence}{code}{fence}"


def _code_block(pre: Element) -> str:
    """A fence with its language around the code as it stands; nothing for an empty block."""
    bar = _take_bar(pre)
    code = next(pre.iter("code"), pre)
    text = _text(code)
    if not text.strip():
        return ""
    fence = "`" * max([3, *(len(run) + 1 for run in FENCES.findall(text))])
    end = "" if text.endswith("\n") else "\n"
    return f"{fence}{_language(code, bar)}\n{text}{end}{fence}"


def _take_bar(pre: Element) -> Element | None:
    """Take the bar with the `Copy code` button out of a code block, if it has one."""
    button = next(pre.iter("button"), None)
    if button is None:
        return None
    parent = button.getparent()
    bar = button if parent is pre else parent
    bar.getparent().remove(bar)
    return bar


def _language(code: Element, bar: Element | None) -> str:
    match = LANGUAGE.search(code.get("class", ""))
    label = "" if bar is None else bar.findtext("span", "").strip()
    name = match[1] if match else label
    return name if LANGUAGE_NAME.fullmatch(name) else ""


def _list(element: Element, tag: str) -> str:
    number = element.get("start", "1") if tag == "ol" else None
    items: list[str] = []
    for child in element:
        if child.tag == "li":
            marker = "- " if number is None else f"{_integer(number) + len(items)}. "
            text = _item(_blocks(child))
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
