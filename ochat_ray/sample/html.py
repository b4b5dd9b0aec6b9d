"""Our Markdown as ChatGPT's web page of spring 2023 showed it: the HTML inside an assistant's `value`.

Takes only the canonical Markdown that the shipped conversations are written in: ATX headings, `- ` and
`1. ` lists indented by their marker, backtick fences, pipe tables, quotes, `$` maths, and a newline in
a paragraph for a hard line break. The markup and its class names follow the saved pages themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from ochat_ray.sample.highlight import highlight
from ochat_ray.sample.katex import display_math, inline_math

COPY_BUTTON = (
    '<button class="flex ml-auto gap-2"><svg stroke="currentColor" fill="none" stroke-width="2" '
    'viewBox="0 0 24 24" class="h-4 w-4" height="1em" width="1em" xmlns="http://www.w3.org/2000/svg">'
    '<rect x="8" y="2" width="8" height="4" rx="1" ry="1"></rect></svg>Copy code</button>'
)
_HEADING = re.compile(r"(#{1,6}) (.*)")
_FENCE = re.compile(r"(`{3,})([\w+#-]*)$")
_ITEM = re.compile(r"(- |(\d+)\. )")
_INLINE = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|!\[(?P<alt>[^\]]*)\]\((?P<src>[^)\s]+)\)"
    r"|\[(?P<text>[^\]]+)\]\((?P<href>[^)\s]+)\)"
    r"|\$(?P<tex>[^\s$](?:[^$\n]*[^\s$])?)\$(?!\d)"
    r"|\*\*(?P<bold>[^\s*](?:(?:[^*]|\*[^*\s][^*]*\*)*[^\s])?)\*\*"
    r"|\*(?P<italic>[^\s*](?:[^*]*[^\s*])?)\*"
)


def escape(text: str) -> str:
    """Text as a browser serialises it into innerHTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_attribute(text: str) -> str:
    """Text for between double quotes, escaped as Next.js does on the server."""
    return escape(text).replace('"', "&quot;").replace("'", "&#x27;")


def message_html(markdown: str, theme: str) -> str:
    """The whole `value` of an assistant's turn. `theme` is `light` or `dark`, as the reader had it set."""
    return (
        f'<div class="markdown prose w-full break-words dark:prose-invert {theme}">{blocks(markdown)}</div>'
    )


def blocks(markdown: str) -> str:
    """The HTML of the blocks of a text."""
    return "".join(html for _, html in _blocks(markdown.split("\n")))


def code_block(code: str, language: str) -> str:
    """A code block with its bar, language label and button; `code` ends in a newline unless empty."""
    known = f" language-{language}" if language else ""
    return (
        '<pre><div class="bg-black mb-4 rounded-md"><div class="flex items-center relative text-gray-200 '
        f'bg-gray-800 px-4 py-2 text-xs font-sans"><span class="">{language}</span>{COPY_BUTTON}</div>'
        f'<div class="p-4 overflow-y-auto"><code class="!whitespace-pre hljs{known}">'
        f"{highlight(code, language)}</code></div></div></pre>"
    )


def inline(text: str) -> str:
    """Bold, italic, code, links, images and maths inside a paragraph."""
    html = []
    at = 0
    for match in _INLINE.finditer(text):
        html += [_plain(text[at : match.start()]), _span(match)]
        at = match.end()
    return "".join(html) + _plain(text[at:])


def _plain(text: str) -> str:
    return escape(text).replace("\n", "<br>\n")


def _span(match: re.Match[str]) -> str:
    kind, value = match.lastgroup, match.group(match.lastgroup or 0)
    if kind == "code":
        return f"<code>{escape(value)}</code>"
    if kind == "src":
        return f'<img src="{escape_attribute(value)}" alt="{escape_attribute(match["alt"])}">'
    if kind == "href":
        return f'<a href="{escape_attribute(value)}" target="_new">{inline(match["text"])}</a>'
    if kind == "tex":
        return inline_math(value)
    tag = "strong" if kind == "bold" else "em"
    return f"<{tag}>{inline(value)}</{tag}>"


def _blocks(lines: list[str]) -> list[tuple[str, str]]:
    """Kind and HTML of each block in `lines`."""
    found = []
    while lines:
        if not lines[0]:
            lines = lines[1:]
            continue
        kind = _kind(lines[0])
        html, used = _READERS[kind](lines)
        found.append((kind, html))
        lines = lines[used:]
    return found


def _kind(line: str) -> str:
    if _FENCE.match(line):
        return "code"
    if _HEADING.match(line):
        return "heading"
    if _ITEM.match(line):
        return "list"
    if line == "$$":
        return "math"
    return {"| ": "table", "> ": "quote"}.get(line[:2], "paragraph")


def _paragraph(lines: list[str]) -> tuple[str, int]:
    used = next(
        (i for i, line in enumerate(lines) if i and (not line or _kind(line) != "paragraph")), len(lines)
    )
    return f"<p>{inline(chr(10).join(lines[:used]))}</p>", used


def _heading(lines: list[str]) -> tuple[str, int]:
    match = _HEADING.match(lines[0])
    assert match
    level = len(match[1])
    return f"<h{level}>{inline(match[2])}</h{level}>", 1


def _code(lines: list[str]) -> tuple[str, int]:
    match = _FENCE.match(lines[0])
    assert match
    end = lines.index(match[1], 1)
    return code_block("".join(line + "\n" for line in lines[1:end]), match[2]), end + 1


def _math(lines: list[str]) -> tuple[str, int]:
    end = lines.index("$$", 1)
    return display_math("\n".join(lines[1:end])), end + 1


def _quote(lines: list[str]) -> tuple[str, int]:
    used = next((i for i, line in enumerate(lines) if not line.startswith(">")), len(lines))
    inner = [line[2:] for line in lines[:used]]
    return f"<blockquote>{''.join(html for _, html in _blocks(inner))}</blockquote>", used


def _table(lines: list[str]) -> tuple[str, int]:
    used = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    head, _, *body = [_cells(line) for line in lines[:used]]
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in body)
    titles = "".join(f"<th>{cell}</th>" for cell in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>", used


def _cells(line: str) -> list[str]:
    parts = re.split(r"(?<!\\)\|", line)[1:-1]
    return [inline(part.strip().replace("\\|", "|")) for part in parts]


def _list(lines: list[str]) -> tuple[str, int]:
    """One list; all its items are wrapped in paragraphs as soon as one holds more than text and lists."""
    first = _ITEM.match(lines[0])
    assert first
    numbered = first[2] is not None
    starts = []
    width = 0
    used = len(lines)
    for i, line in enumerate(lines):
        marker = _ITEM.match(line)
        if marker and (marker[2] is not None) == numbered:
            width = len(marker[1])
            starts.append((i, width))
        elif line and not line.startswith(" " * width):
            used = i
            break
    ends = [*starts, (used, 0)]
    items = [_blocks([line[w:] for line in lines[i:j]]) for (i, w), (j, _) in pairwise(ends)]
    loose = any(kind != "list" for item in items for kind, _ in item[1:])
    rendered = "".join(f"<li>{_item(item, loose)}</li>" for item in items)
    start = f' start="{first[2]}"' if numbered and first[2] != "1" else ""
    tag = "ol" if numbered else "ul"
    return f"<{tag}{start}>{rendered}</{tag}>", used


def _item(parts: list[tuple[str, str]], loose: bool) -> str:
    html = [body for _, body in parts]
    if not loose:
        html[0] = html[0].removeprefix("<p>").removesuffix("</p>")
    return "".join(html)


_READERS: dict[str, Callable[[list[str]], tuple[str, int]]] = {
    "paragraph": _paragraph,
    "heading": _heading,
    "code": _code,
    "math": _math,
    "quote": _quote,
    "table": _table,
    "list": _list,
}
