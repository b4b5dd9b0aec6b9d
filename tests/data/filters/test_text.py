"""Fenced code is told from prose as CommonMark tells it, in time that grows with the text and no faster."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ochat_ray.data.filters.text import prose, without_code


@pytest.mark.parametrize(
    ("markdown", "pieces", "is_open"),
    [
        ("no code", ["no code"], False),
        ("a\n```py\nx\n```\nb", ["a\n", "\nb"], False),
        ("a\n~~~\nx\n```\n~~~\nb\n```\ny\n```", ["a\n", "\nb\n", ""], False),
        ("a\n\n```\nx", ["a\n\n", ""], True),
        ("- ```\n  x\n  ```\n- b", ["", "\n- b"], False),
        ("10. ~~~ py\n    x\n    ~~~ \u200b\r\nb", ["", "\nb"], False),
        ("> ```\n> x\n> ```\nb", ["", "\nb"], False),
        ("```ls``` lists files.\nb", ["```ls``` lists files.\nb"], False),
        ("```\na\n- ```\nb\n```\nc", ["", "\nc"], False),
    ],
)
def test_text_around_fenced_code(markdown: str, pieces: list[str], is_open: bool) -> None:
    assert prose(markdown) == (pieces, is_open)
    assert without_code(markdown) == "".join(pieces)


LINES = ["```", "````", "~~~", "```py", "~~~ `x` ~", "```ls``` lists", "``", "  ```  ", "text", ""]


@settings(max_examples=300)
@given(lines=st.lists(st.sampled_from(LINES), max_size=9))
def test_code_is_what_commonmark_takes_for_it(lines: list[str]) -> None:
    found = MarkdownIt("commonmark").parse("\n".join(lines))
    blocks = [token.map for token in found if token.type == "fence" and token.map]
    code = {number for start, end in blocks for number in range(start, end)}
    expected = [line for number, line in enumerate(lines) if number not in code]
    assert [line for line in without_code("\n".join(lines)).split("\n") if line] == [
        line for line in expected if line
    ]


def seconds(text: str) -> float:
    """The shortest of some runs, which other work on the machine disturbs least."""
    times = []
    for _ in range(5):
        began = time.process_time()
        without_code(text)
        times.append(time.process_time() - began)
    return min(times)


@pytest.mark.parametrize(
    "piece", ["`", "~", "> ", "- ", "1", " ", "``` ", "```\n", "~~~x\n", "````\n```\n", "1. ```a`\n"]
)
def test_time_grows_no_faster_than_the_text(piece: str) -> None:
    tail = "```\n~~~\n"
    short, long = (piece * (size // len(piece)) for size in (20_000, 160_000))
    for text in ("{}", tail + "{}", "{}" + tail):
        assert seconds(text.format(long)) < 32 * seconds(text.format(short)) + 1e-4
