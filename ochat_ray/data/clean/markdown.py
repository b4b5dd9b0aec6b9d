"""An assistant's HTML, as ChatGPT rendered it, back to the Markdown it was made from.

One parse by libxml2 and one walk over the tree. Code and TeX come out byte for byte, and nothing in
text is escaped. HTML of other kinds, which has nothing of ChatGPT's to lose, goes to markdownify.
"""

from __future__ import annotations

import html
import re

import markdownify
from lxml import etree

from ochat_ray.data.clean import noise
from ochat_ray.data.clean.inline import BLOCK_TAGS
from ochat_ray.data.clean.leaves import WHITE
from ochat_ray.data.clean.walk import Block, blocks_of, join

# Without `huge_tree`, libxml2 gives up on elements nested deeper than 256 and on single texts over 10 MB.
# Answers nest less than 30 deep; the walk takes two frames of the stack for each level.
PARSER = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)

# What tells HTML from text that speaks of `List<Object>`: an answer in HTML has one of the common tags.
TAG = re.compile(
    r"</?(?:a|b|blockquote|body|br|code|dd|del|div|dl|dt|em|h[1-6]|hr|html|i|img|li|ol|p|pre|s|section|span"
    r"|strong|sub|sup|table|tbody|td|th|thead|tr|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
CHATGPT = re.compile(r'class="[^"]*\b(?:markdown|katex|hljs)\b|Copy code</button>')
FOREIGN = re.compile(
    r"<(?:address|article|aside|body|center|dl|details|fieldset|figure|footer|form|header|html|main|nav)[\s>]",
    re.IGNORECASE,
)
ANY_TAG = re.compile(r"</?([a-zA-Z][^\s<>/]*)[^<>]*>")
BLANK_LINES = re.compile(r"\n{3,}")


class _Converter(markdownify.MarkdownConverter):
    """markdownify, but for what is nothing to read."""

    def convert_button(self, *_: object, **__: object) -> str:
        return ""

    convert_svg = convert_video = convert_button


CONVERTER = _Converter(heading_style="ATX", bullets="-", escape_asterisks=False, escape_underscores=False)


def to_markdown(value: str) -> str:
    """Markdown of an assistant's HTML. Text without any tag is unescaped and otherwise left as it is.

    Takes malformed HTML, and never raises. Of elements nested hundreds deep only the text is left.
    """
    if not TAG.search(value):
        return noise.strip_footer(html.unescape(value)).strip(WHITE)
    if FOREIGN.search(value) and not CHATGPT.search(value):
        return _foreign(value)
    return _walked(value)


def _foreign(value: str) -> str:
    try:
        text: str = CONVERTER.convert(value)
    except Exception:  # it is not made for everything; the walk is
        return _walked(value)
    return BLANK_LINES.sub("\n\n", text).strip(WHITE)


def _walked(value: str) -> str:
    tree = etree.fromstring(value.encode("utf-8", "replace"), PARSER)
    problem = PARSER.error_log.last_error
    if problem is not None and problem.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
        return _only_text(value)
    if tree is None:
        return ""
    # What follows `</html>` stands beside the root.
    blocks = _without_noise(blocks_of(None, [tree, *tree.itersiblings()]))
    return noise.strip_footer(join(blocks))


def _only_text(value: str) -> str:
    text = ANY_TAG.sub(lambda tag: "\n\n" if tag[1].lower() in BLOCK_TAGS else "", value)
    return BLANK_LINES.sub("\n\n", html.unescape(text)).strip(WHITE)


def _without_noise(blocks: list[Block]) -> list[Block]:
    return [block for block in blocks if block.kind != "bare" or not noise.is_noise(block.text)]
