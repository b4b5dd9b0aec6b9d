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

import markdownify
from lxml import etree

from ochat_ray.data import noise
from ochat_ray.data.leaves import Element
from ochat_ray.data.walk import BLOCKS, CONTAINERS, INLINE, SILENT, Block, ForeignElement, blocks_in, join

# libxml2 silently drops what is nested deeper than 2,048 elements; the walk takes a frame or two for each.
MAX_DEPTH = 2048
RECURSION_LIMIT = 4 * MAX_DEPTH
PARSER = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)

TAGS = "|".join(sorted(SILENT | CONTAINERS | INLINE | BLOCKS))
TAG = re.compile(rf"</?(?:{TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)


def to_markdown(value: str) -> str:
    """Markdown of an assistant's HTML. Text without any tag is unescaped and otherwise left as it is.

    Takes malformed HTML. Raises RecursionError for elements nested thousands deep.
    """
    if not TAG.search(value):
        return noise.strip_footer(html.unescape(value)).strip()
    with _deep_recursion():
        tree = _parse(value)
        try:
            blocks = None if tree is None else blocks_in(tree)
        except ForeignElement:
            blocks = None
        text = _markdownify(value) if blocks is None else join(_without_noise(blocks))
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
