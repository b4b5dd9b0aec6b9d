"""The walk over an answer's tree, and the blocks that it finds. Elements in, Markdown out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ochat_ray.data.clean.code import code_block
from ochat_ray.data.clean.inline import BLOCK_TAGS, BlockInside, inline, inline_child
from ochat_ray.data.clean.leaves import FOOTNOTE, WHITE, Element, after, display_math, tex_of

ROW_GROUPS = ("thead", "tbody", "tfoot")
IN_TABLES = frozenset({"caption", "col", "colgroup", "tr", *ROW_GROUPS})
CELLS = frozenset({"td", "th"})
BREAKING = ("br", "blockquote", "li", "p", "pre")  # what makes a cell more than one line

# Kinds of blocks that need no blank line between them to stay apart in an item.
ADJACENT = {
    ("paragraph", "list"),
    ("bare", "list"),
    ("bare", "code"),
    ("code", "bare"),
    ("code", "list"),
    ("list", "code"),
}
ALIGN = re.compile(r"text-align:\s*(left|center|right)")
ALIGNED = {"left": ":--", "center": ":-:", "right": "--:"}
NEXT_LINES = re.compile(r"\n(?=[^\n])")
NUMBER = re.compile(r"[0-9]{1,9}")  # CommonMark takes no longer ones


class Block(NamedTuple):
    """A piece of Markdown. `kind`: paragraph, bare (text in no paragraph), list, code or other."""

    kind: str
    text: str


def join(blocks: list[Block]) -> str:
    """The Markdown of blocks."""
    return "\n\n".join([block.text for block in blocks])


def blocks_in(element: Element) -> list[Block]:
    """The blocks in an element: its block children, and its stretches of inline content."""
    return blocks_of(element.text, element)


def blocks_of(text: str | None, children: Iterable[Element]) -> list[Block]:
    """The blocks of a text and the elements after it."""
    blocks: list[Block] = []
    run = [text] if text else []
    for child in children:
        tag = child.tag
        make = MAKERS.get(tag)
        if make is None:
            try:
                run.append(inline_child(child, tag))
            except BlockInside:
                make = _container
        if make is not None:
            if run:
                blocks += _block("".join(run))
                run = []
            blocks += make(child)
        tail = child.tail
        if tail:
            run.append(tail)
    if run:
        blocks += _block("".join(run))
    return blocks


def _block(text: str, kind: str = "bare") -> list[Block]:
    """A block, none where there is nothing to see."""
    text = text.strip(WHITE)
    return [Block(kind, text)] if text and not text.isspace() else []


def _container(element: Element) -> list[Block]:
    if display_math(element):
        return [Block("other", f"$$\n{tex_of(element)}\n$$")]
    return blocks_in(element)


def _paragraph(element: Element) -> list[Block]:
    try:
        return _block(inline(element), "paragraph")
    except BlockInside:
        return blocks_in(element)


def _heading(element: Element) -> list[Block]:
    text = _line(element)
    return [Block("other", f"{'#' * int(element.tag[1])} {text}")] if text else []


def _rule(_: Element) -> list[Block]:
    return [Block("other", "---")]


def _quote(element: Element) -> list[Block]:
    lines = join(blocks_in(element)).split("\n")
    return [Block("other", "\n".join([f"> {line}" if line else ">" for line in lines]))]


def _code(element: Element) -> list[Block]:
    first = next(element.iterdescendants("code", "pre"), None)
    if first is not None and first.tag == "pre":  # its own end tag got lost
        return blocks_in(element)
    code = code_block(element)
    blocks = [*_block(code.over), *([Block("code", code.text)] if code.text else [])]
    for text, others in after(code.end, element):  # let in by a lost end tag of its bar
        blocks += blocks_of(text, others)
    return blocks


def _list(element: Element) -> list[Block]:
    ordered, start = element.tag == "ol", NUMBER.fullmatch(element.get("start", ""))
    number = int(start[0]) if start else 1
    # What stands in no item belongs to the one before; ChatGPT writes no such lists.
    items = [("", _block(element.text) if element.text else [])]
    for child in element:
        if child.tag == "li":
            items.append((f"{number}. " if ordered else "- ", blocks_in(child)))
            number += 1
            tail = child.tail
            if tail:
                items[-1][1].extend(_block(tail))
        else:
            items[-1][1].extend(blocks_of(None, [child]))
    if not items[0][1]:
        del items[0]
    # Paragraphs in items are how HTML shows blank lines between items, or in a lone one.
    loose = any(block.kind == "paragraph" for _, blocks in items for block in blocks)
    texts = [_item(marker, blocks, apart=loose and len(items) == 1) for marker, blocks in items]
    if not texts:
        return []
    # A list that begins otherwise needs a blank line after a paragraph (CommonMark 5.3).
    kind = "list" if texts[0].startswith(("- ", "1. ")) else "other"
    return [Block(kind, ("\n\n" if loose else "\n").join(texts))]


def _item(marker: str, blocks: list[Block], *, apart: bool = False) -> str:
    text = before = ""
    for kind, piece in blocks:
        if before:
            text += "\n\n" if apart or (before, kind) not in ADJACENT else "\n"
        text += piece
        before = kind
    return marker + _indented(text, marker) if text else marker.rstrip()


def _lone_item(element: Element) -> list[Block]:
    return [Block("list", _item("- ", blocks_in(element)))]


def _indented(text: str, marker: str) -> str:
    """All lines but the first indented by the width of a marker, blank ones left blank."""
    return NEXT_LINES.sub("\n" + " " * len(marker), text) if "\n" in text else text


def _section(element: Element) -> list[Block]:
    """The footnotes, which GFM moves into a section of their own; other sections are containers."""
    if element.get("class") != "footnotes":
        return _container(element)
    notes = [(f"#{note.get('id')}".removeprefix(FOOTNOTE), note) for note in element.iter("li")]
    return [Block("other", f"[^{name}]: {_item('    ', blocks_in(note)).lstrip()}") for name, note in notes]


def _table(element: Element) -> list[Block]:
    groups = [element, *element.iterchildren(*ROW_GROUPS)]
    rows = [row for group in groups for row in group.iterchildren("tr")]
    width = max(map(len, rows), default=0)
    regular = all(_holds_only(IN_TABLES, group) for group in groups)
    if not width or not regular or not all(_holds_only(CELLS, row) for row in rows):
        return blocks_in(element)
    lines = [f"| {' | '.join([_cell(cell) for cell in row] + [''] * (width - len(row)))} |" for row in rows]
    rules = [_rule_under(cell) for cell in rows[0]] + ["---"] * (width - len(rows[0]))
    lines.insert(1, f"| {' | '.join(rules)} |")
    captions = [block for caption in element.iterchildren("caption") for block in blocks_in(caption)]
    return [*captions, Block("other", "\n".join(lines))]


def _holds_only(tags: frozenset[str], element: Element) -> bool:
    """Whether an element has no other children than those, and no text between them."""
    return not (element.text or "").strip() and all(
        child.tag in tags and not (child.tail or "").strip() for child in element
    )


def _rule_under(cell: Element) -> str:
    align = ALIGN.search(f"text-align:{cell.get('align', '')};{cell.get('style', '')}")
    return ALIGNED[align[1]] if align else "---"


def _cell(element: Element) -> str:
    line_break = " " if next(element.iter(*BREAKING), None) is None else "<br>"
    return _line(element, line_break).replace("|", "\\|")


def _line(element: Element, line_break: str = " ") -> str:
    """All of an element on one line."""
    try:
        text = inline(element)
    except BlockInside:
        text = join(blocks_in(element))
    if "\n" in text:
        lines = [line.strip(WHITE) for line in text.split("\n")]
        text = line_break.join(filter(None, lines))
    return text.strip(WHITE)


MAKERS: dict[str, Callable[[Element], list[Block]]] = {
    **dict.fromkeys(BLOCK_TAGS, _container),
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), _heading),
    "blockquote": _quote,
    "hr": _rule,
    "li": _lone_item,
    "ol": _list,
    "p": _paragraph,
    "pre": _code,
    "section": _section,
    "table": _table,
    "ul": _list,
}
