"""What several filters look at: the prose of a message, and which scripts put no spaces between words."""

from __future__ import annotations

import re
from typing import NamedTuple

# Scripts that put no spaces between words, for a character class: Thai to Lao, Burmese, Khmer, Japanese and
# Chinese. Their characters are taken for words.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
INVISIBLE = " \t\r\u200b\u200c\u200d\u2060\ufeff"

# A line that can begin or end fenced code. No backtick follows a fence of backticks (CommonMark 4.5): that is
# a code span.
FENCE = re.compile(
    r"^[ \t>]*(?P<marker>(?:[-*+]|\d+[.)])[ \t]+)?(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})(?P<info>.*)$",
    re.MULTILINE,
)


class Prose(NamedTuple):
    """A text before, between and after its blocks of fenced code; `open` where the last has no end."""

    pieces: list[str]
    open: bool


def prose(markdown: str) -> Prose:
    """Markdown cut up by its fenced code."""
    if "```" not in markdown and "~~~" not in markdown:
        return Prose([markdown], open=False)
    pieces: list[str] = []
    opened: re.Match[str] | None = None
    end = 0
    for line in FENCE.finditer(markdown):
        if opened is None:
            pieces.append(markdown[end : line.start()])
            opened = line
        elif _closes(line, opened):
            opened, end = None, line.end()
    pieces.append(markdown[end:] if opened is None else "")
    return Prose(pieces, open=opened is not None)


def without_code(markdown: str) -> str:
    """Markdown without its fenced code."""
    return "".join(prose(markdown).pieces)


def _closes(line: re.Match[str], opened: re.Match[str]) -> bool:
    """Whether a fence ends the code that another began. One indented by four more is part of the code."""
    return (
        line["fence"].startswith(opened["fence"])
        and not line["marker"]
        and not line["info"].strip(INVISIBLE)
        and _column(line) < _column(opened) + 4
    )


def _column(line: re.Match[str]) -> int:
    return line.start("fence") - line.start()
