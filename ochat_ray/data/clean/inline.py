"""The content of lines: text, and what may stand within it. Elements in, Markdown out."""

from __future__ import annotations

from ochat_ray.data.clean.leaves import (
    Element,
    checkbox,
    code_span,
    display_math,
    emphasis,
    image,
    inline_math,
    link,
    text_of,
)

# fmt: off
SILENT = frozenset({
    "audio", "button", "canvas", "head", "iframe", "link", "meta", "noscript", "object", "script", "style",
    "svg", "template", "title", "video",
})
CODE = frozenset({"code", "kbd", "samp"})
EMPHASIS = {"strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~", "s": "~~", "strike": "~~"}
BLOCK_TAGS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header",
    "hgroup", "hr", "html", "legend", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table",
    "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})
# fmt: on


class BlockInside(Exception):
    """A block stands where only inline content belongs."""


def inline(element: Element) -> str:
    """The inline content of an element. Raises BlockInside."""
    parts = [element.text or ""]
    for child in element:
        parts.append(inline_child(child, child.tag))
        tail = child.tail
        if tail:
            parts.append(tail)
    return "".join(parts)


def inline_child(element: Element, tag: str) -> str:
    """The Markdown of an element within lines, without what follows it. Raises BlockInside.

    Elements that nobody knows are looked through, as browsers do.
    """
    if tag in CODE:
        return code_span(text_of(element))
    if tag in EMPHASIS:
        return emphasis(inline(element), EMPHASIS[tag])
    if tag == "a":
        return link(element, inline(element))
    if tag == "br":
        return "" if (element.tail or "").startswith("\n") else "\n"
    if tag == "img":
        return image(element)
    if tag == "input":
        return checkbox(element)
    if tag in SILENT:
        return ""
    if tag in BLOCK_TAGS or display_math(element):
        raise BlockInside
    if tag == "math" or "katex" in element.get("class", ""):
        return inline_math(element)
    text = inline(element)
    if tag in ("sub", "sup") and text and not text.startswith("[^"):
        return f"<{tag}>{text}</{tag}>"
    return text
