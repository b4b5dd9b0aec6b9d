"""The parts of an answer that hold no other parts: code, formulas, links. Elements in, Markdown out."""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

Element = Any  # lxml.etree._Element: lxml has no type stubs

LANGUAGE = re.compile(r"(?:^|\s)lang(?:uage)?-(\S+)")
LANGUAGE_NAME = re.compile(r"[^\s`]*")
FENCES = re.compile(r"^[ \t]*(`{3,})", re.MULTILINE)
BACKTICKS = re.compile("`+")


def display_math(element: Element) -> bool:
    """Whether an element is a formula on lines of its own."""
    names = element.get("class")
    return names is not None and ("math-display" in names or "katex-display" in names)


def tex_of(element: Element) -> str:
    """The TeX of a formula: KaTeX keeps it beside the MathML, and then draws the formula once more."""
    for annotation in element.iter("annotation"):
        return text_of(annotation).strip()
    return text_of(element).strip()


def text_of(element: Element) -> str:
    """All text in an element, byte for byte."""
    text: str = etree.tostring(element, method="text", encoding="unicode", with_tail=False)
    return text


def emphasis(text: str, mark: str) -> str:
    """Text between marks, which must touch its words; nothing is marked in white space."""
    core = text.strip()
    if not core:
        return text
    at = text.index(core)
    return f"{text[:at]}{mark}{core}{mark}{text[at + len(core) :]}"


def link(text: str, url: str | None) -> str:
    """A link, as an autolink where it shows its own address."""
    if url is None or not text.strip():
        return text
    return f"<{url}>" if text == url and "://" in url else f"[{text}]({url})"


def code_span(code: str) -> str:
    """Code between the shortest run of backticks that it does not contain itself (CommonMark 6.1)."""
    if not code:
        return ""
    runs = {len(run) for run in BACKTICKS.findall(code)}
    fence = "`" * next(n for n in range(1, len(runs) + 2) if n not in runs)
    padded = code.strip("`") != code or (code[:1] == code[-1:] == " " and code.strip())
    return f"{fence} {code} {fence}" if padded else f"{fence}{code}{fence}"


def code_block(pre: Element) -> str:
    """A fence with its language around the code as it stands; nothing for an empty block."""
    label = _take_label(pre)
    code = next(pre.iter("code"), pre)
    text = text_of(code)
    if not text.strip():
        return ""
    match = LANGUAGE.search(code.get("class", ""))
    language = match[1] if match else label
    fence = "`" * max([3, *(len(run) + 1 for run in FENCES.findall(text))])
    end = "" if text.endswith("\n") else "\n"
    return f"{fence}{language if LANGUAGE_NAME.fullmatch(language) else ''}\n{text}{end}{fence}"


def _take_label(pre: Element) -> str:
    """Empty the bar with the `Copy code` button over a code block, if it has one; returns the bar's label."""
    button = next(pre.iter("button"), None)
    if button is None:
        return ""
    parent = button.getparent()
    bar = button if parent is pre else parent
    label: str = bar.findtext("span", "").strip()
    bar.clear(keep_tail=True)
    return label
