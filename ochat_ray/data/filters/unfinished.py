"""Conversations whose last answer breaks off: an open code fence, or a sentence without its end.

Much that lacks a full stop is finished: headings, short list items, verses, signatures, options to choose
from. So a last line is broken off only where it is long, and other lines of its kind do end in this answer.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import chain

from ochat_ray.conversation import Message
from ochat_ray.data.filters.reason import Reason
from ochat_ray.data.filters.text import INVISIBLE, prose

ITEM = re.compile(r"[ \t>]*(?:[-*+\u2022]|\(?(?:\d{1,3}|[A-Za-z])[.)])[ \t]+")
# Headings, tables, TeX, tags, notes and attributions.
NO_SENTENCE = re.compile(r"[ \t>]*(?:#{1,6} |[|<$\\\u2013\u2014]|\[[^\]]*\]:)|.*\|.*\|")
LABEL = re.compile(r"(?:\S+ ){0,3}\S+: ")  # `Skills: Python, Go`
ENDS = ".!?:;\u2026\u3002\uff01\uff1f\uff1a\uff1b\u0964\u0965\u061f\u061b\u06d4\u0589\u1362"
CLOSES = "\"'*_)]}\u201d\u2019\u00bb\uff09\u300d\u300f\u300b\u3011"
ENDED = re.compile(rf"[{re.escape(ENDS)}][{re.escape(CLOSES)}`$]*$")
SENTENCE = re.compile(  # with more after it; three letters, because `e.g.` and `Dr.` end none
    rf"(?:(?:[^\s.]{{3}}\.|[!?\u061f\u06d4\u0964])[{re.escape(CLOSES)}]*\s|[\u3002\uff01\uff1f]).*\S"
)
OPEN = frozenset(",([{\u3001\uff0c\uff08\u300c\u300e\u300a\u3010\u060c\u201e\u00ab")
# English words after which nothing ends, so that a short line shows it too.
LEADS_ON = frozenset(("the", "an", "and", "or", "your", "our", "their", "its", "my"))
UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
WITHOUT_STOPS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai to Lao, Burmese, Khmer
MIN_WORDS = 8  # where characters are words, twice as many


def breaks_off(messages: tuple[Message, ...]) -> Reason | None:
    """A last answer with an open fence, or whose last line stops in the middle of a sentence."""
    if not messages or messages[-1].role != "assistant":
        return None
    where = f"message {len(messages)} (assistant)"
    pieces, open_fence = prose(messages[-1].content)
    if open_fence:
        return Reason("unfinished", f"{where} ends in a code fence that is not closed")
    *before, last = map(_lines, pieces)
    if last and _is_cut(last[-1], [*chain.from_iterable(before), *last[:-1]]):
        return Reason("unfinished", f"{where} ends in the middle of a sentence: {last[-1][-60:]!r}")
    return None


def _lines(text: str) -> list[str]:
    """The lines in which there is anything to see."""
    return [line for raw in text.split("\n") if (line := raw.rstrip(INVISIBLE))]


def _is_cut(line: str, before: list[str]) -> bool:
    if NO_SENTENCE.match(line) or WITHOUT_STOPS.match(line[-1]):
        return False
    if line[-1] in OPEN:
        return _is_long(line)
    words = line.split()
    if unicodedata.category(line[-1])[0] not in "LM" or words[-1][0] in "#@" or "://" in words[-1]:
        return False
    if words[-1] in LEADS_ON and len(words) > 2:
        return True
    if not _is_long(line) or _is_title(words):
        return False
    alike = [other for other in before if _is_item(other) == _is_item(line) and _is_long(other)]
    ended = sum(1 for other in alike if ENDED.search(other))
    if SENTENCE.search(line):
        return 2 * ended >= len(alike)
    return 0 < 9 * len(alike) <= 10 * ended and (_is_item(line) or not LABEL.match(line))


def _is_item(line: str) -> bool:
    return ITEM.match(line) is not None


def _is_long(line: str) -> bool:
    return len(line.split()) >= MIN_WORDS or len(UNSPACED.findall(line)) >= 2 * MIN_WORDS


def _is_title(words: list[str]) -> bool:
    return 2 * sum(1 for word in words if word[0].isupper()) > len(words)
