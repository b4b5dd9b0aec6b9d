"""Colours in code, as highlight.js marks them: enough of it that saved pages look like saved pages."""

from __future__ import annotations

import re

_HASH = r"\#[^\n]*"
_SLASHES = r"//[^\n]*|/\*.*?\*/"
_DASHES = r"--[^\n]*"
_MARKUP = r"<!--.*?-->"

# Language to its comment pattern and its keywords.
_LANGUAGES: dict[str, tuple[str, str]] = {
    "python": (
        _HASH,
        "and as class def elif else for from if import in is lambda not or return while with yield",
    ),
    "bash": (_HASH, "do done echo else fi for if in then while"),
    "yaml": (_HASH, "true false null"),
    "javascript": (_SLASHES, "async await const else for function if import let new of return while"),
    "typescript": (_SLASHES, "const export extends function if interface let return type"),
    "java": (_SLASHES, "class else for if int new private public return static void"),
    "c": (_SLASHES, "char const else for if int return sizeof struct void while"),
    "cpp": (_SLASHES, "auto class const for if int return template typename void"),
    "rust": (_SLASHES, "fn for if impl in let match mut pub struct use while"),
    "go": (_SLASHES, "for func go if import package range return type var"),
    "css": (r"/\*.*?\*/", ""),
    "sql": (_DASHES, "AND AS BY COUNT FROM GROUP JOIN ON ORDER SELECT WHERE"),
    "html": (_MARKUP, ""),
}
_TAG = re.compile(r"(</?)([A-Za-z][\w-]*)([^<>]*)(/?>)")


def highlight(code: str, language: str) -> str:
    """The HTML of `code`; plain text where the language is not known."""
    if language not in _LANGUAGES:
        return _escape(code)
    comment, keywords = _LANGUAGES[language]
    if language == "html":
        return _highlight_tags(code, comment)
    words = "|".join(keywords.split()) or r"(?!)"
    token = re.compile(
        rf"(?P<comment>{comment})"
        r"""|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
        rf"|\b(?P<keyword>{words})\b"
        r"|\b(?P<number>\d+(?:\.\d+)?)\b",
        re.DOTALL,
    )
    html = []
    at = 0
    for match in token.finditer(code):
        html.append(_escape(code[at : match.start()]))
        html.append(_mark(match.lastgroup or "", _escape(match[0])))
        at = match.end()
    return "".join(html) + _escape(code[at:])


def _highlight_tags(code: str, comment: str) -> str:
    html = []
    at = 0
    for match in re.finditer(f"{comment}|{_TAG.pattern}", code, re.DOTALL):
        html.append(_escape(code[at : match.start()]))
        if match[1]:
            name = _mark("name", match[2])
            html.append(_mark("tag", _escape(match[1]) + name + _escape(match[3] + match[4])))
        else:
            html.append(_mark("comment", _escape(match[0])))
        at = match.end()
    return "".join(html) + _escape(code[at:])


def _mark(kind: str, html: str) -> str:
    return f'<span class="hljs-{kind}">{html}</span>'


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
