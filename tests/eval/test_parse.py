from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.eval import parse

SCORE = st.integers(0, 100).map(lambda n: n / 10)


@given(SCORE, SCORE, st.text(alphabet="abc .,\n", max_size=80))
def test_scores_in_the_last_line(first: float, second: float, before: str) -> None:
    for line in (
        f"[{first}, {second}]",
        f"{first} {second}",
        f"**[{first}, {second}]**",
        f"{first},{second}",
    ):
        assert parse.scores(f"{before}\n{line}") == (first, second)
        assert parse.scores(f"{before}\n{line}\n\n") == (first, second)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Scores: [7, 8.5].", (7, 8.5)),
        ("[1, 2]\nI mean\n[3, 4]", (3, 4)),
        ("[1, 2] or rather [3, 4]", (3, 4)),
        ("[9, 8]\nboth are fine", (9, 8)),
        ("[0, 0]", (0, 0)),
        ("7/10 and 8/10", None),
        ("", None),
        ("both are great", None),
        ("[11, 5]", None),
        ("[8]", None),
        ("[7, 8, 9]", None),
        ("In 1999, 2000 people", None),
    ],
)
def test_scores_and_what_is_none(text: str, found: tuple[float, float] | None) -> None:
    assert parse.scores(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so [[A]]", (1, 0)),
        ("[[B]]\n", (0, 1)),
        ("[[C]]", (0.5, 0.5)),
        ("[[A]], no, [[B]]", None),
        ("[[A]] [[A]]", (1, 0)),
        ("A", None),
        ("[A]", None),
    ],
)
def test_verdicts(text: str, found: tuple[float, float] | None) -> None:
    assert parse.verdict(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fine [[7]]", 7),
        ("[[7.5]]", 7.5),
        ("[6]", 6),
        ("[3] of [[4]]", 4),
        ("7", None),
        ("[[12]]", None),
        ("[[0]]", 0),
    ],
)
def test_grades(text: str, found: float | None) -> None:
    assert parse.grade(text) == found


@pytest.mark.parametrize(
    ("text", "found"), [("m", (1, 0)), (" M\n", (0, 1)), ("`M`", (0, 1)), ("M is better", None), ("", None)]
)
def test_letters(text: str, found: tuple[float, float] | None) -> None:
    assert parse.letter(text) == found


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_letters_by_their_probabilities(first: float, second: float) -> None:
    """AlpacaEval 2: preference 2 - P(m) / (P(m) + P(M)), of which ours is the part over 1, for the second."""
    tops = [("m", math.log(first)), ("M", math.log(second)), ("other", -0.1)]
    found = parse.letter("anything", tops)
    assert found is not None and found[1] == pytest.approx(1 - first / (first + second))
    assert sum(found) == pytest.approx(1)
    assert parse.letter("m", [("other", -0.1)]) == (1, 0)


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    for read in (parse.scores, parse.verdict, parse.grade, parse.letter):
        read(text)
