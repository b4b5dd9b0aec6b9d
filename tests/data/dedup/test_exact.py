"""Copies: the same hash everywhere, the best one stays whatever the order."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.conversation import Message
from ochat_ray.data.dedup.exact import Rank, best_copies, text_hash

COPIES = st.tuples(st.sampled_from("xyz"), st.booleans(), st.integers(0, 3), st.text("abc", max_size=2))
Copy = tuple[str, bool, int, str]


def chosen(copies: list[tuple[Copy, str]]) -> set[tuple[Copy, str]]:
    ranks = [Rank(unwanted, False, -chars, id, source) for (_, unwanted, chars, id), source in copies]
    return {copies[best] for best in best_copies([copy[0] for copy, _ in copies], ranks)}


@given(rows=st.lists(COPIES, min_size=1), seed=st.integers())
def test_the_best_copy_stays_in_any_order(rows: list[Copy], seed: int) -> None:
    copies = [(row, str(number)) for number, row in enumerate(rows)]
    best = chosen(copies)
    assert best == chosen(random.Random(seed).sample(copies, len(copies)))
    assert sorted(text for (text, *_), _ in best) == sorted({row[0] for row in rows})
    for (text, unwanted, chars, id), _ in best:
        for other in rows:
            if other[0] == text:
                assert (unwanted, -chars, id) <= (other[1], -other[2], other[3])


def test_a_wanted_model_goes_first_then_what_can_be_learnt_a_longer_text_and_a_smaller_id() -> None:
    ranks = [
        Rank(True, False, -9, "a", "1"),
        Rank(False, True, -9, "a", "2"),
        Rank(False, False, -5, "b", "3"),
        Rank(False, False, -6, "d", "4"),
        Rank(False, False, -6, "c", "5"),
    ]
    assert best_copies(["x"] * 5, ranks) == [4] * 5


def test_hashes_are_those_of_other_processes() -> None:
    script = (
        "from ochat_ray.conversation import Message; from ochat_ray.data.dedup.exact import text_hash;"
        "print(text_hash([Message('user', 'a\\u00e9'), Message('assistant', 'b')]))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {text_hash([Message("user", "a\u00e9"), Message("assistant", "b")])}


@given(
    a=st.lists(st.text("ab \n\u00e9e\u0301"), max_size=3),
    b=st.lists(st.text("ab \n\u00e9e\u0301"), max_size=3),
)
def test_texts_are_the_same_but_for_white_space_and_composition(a: list[str], b: list[str]) -> None:
    def plain(texts: list[str]) -> list[str]:
        return [unicodedata.normalize("NFC", " ".join(text.split())) for text in texts]

    same = text_hash([Message("user", text) for text in a]) == text_hash(
        [Message("user", text) for text in b]
    )
    assert same == (plain(a) == plain(b))


def test_roles_count() -> None:
    assert text_hash([Message("user", "a")]) != text_hash([Message("assistant", "a")])
