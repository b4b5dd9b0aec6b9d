"""Copies: the same hash everywhere, the best one stays whatever the order."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.conversation import Message
from ochat_ray.data.dedup import best_copies, text_hash

MODELS = ("Model: GPT-4",)
COPIES = st.tuples(
    st.sampled_from("xyz"), st.sampled_from([None, "Model: GPT-4", "other"]), st.text("abc", max_size=2)
)


def table(copies: list[tuple[str, str | None, str, str]]) -> pa.Table:
    columns = list(zip(*copies, strict=True))
    return pa.table(
        {
            name: pa.array(column, pa.string())
            for name, column in zip(("hash", "model", "id", "source"), columns, strict=True)
        }
    )


@given(rows=st.lists(COPIES, min_size=1), seed=st.integers())
def test_the_best_copy_stays_in_any_order(rows: list[tuple[str, str | None, str]], seed: int) -> None:
    copies = [(*row, str(number)) for number, row in enumerate(rows)]
    shuffled = random.Random(seed).sample(copies, len(copies))
    chosen = {copies[best] for best in best_copies(table(copies), MODELS)}
    assert chosen == {shuffled[best] for best in best_copies(table(shuffled), MODELS)}
    assert {copy[0] for copy in chosen} == {copy[0] for copy in copies}
    for best in chosen:
        for other in copies:
            if other[0] == best[0]:
                assert (best[1] not in MODELS, best[2]) <= (other[1] not in MODELS, other[2])


def test_a_copy_by_a_wanted_model_wins_over_a_smaller_id() -> None:
    copies = [("x", None, "a", "1"), ("x", "Model: GPT-4", "c", "2"), ("x", "Model: GPT-4", "b", "3")]
    assert best_copies(table(copies), MODELS) == [2, 2, 2]
    assert best_copies(table(copies), ()) == [0, 0, 0]


def test_hashes_are_those_of_other_processes() -> None:
    script = (
        "from ochat_ray.conversation import Message; from ochat_ray.data.dedup import text_hash;"
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


@given(a=st.lists(st.text(), max_size=3), b=st.lists(st.text(), max_size=3))
def test_other_texts_have_other_hashes(a: list[str], b: list[str]) -> None:
    same = text_hash([Message("user", text) for text in a]) == text_hash(
        [Message("user", text) for text in b]
    )
    assert same == (a == b)


def test_roles_count() -> None:
    assert text_hash([Message("user", "a")]) != text_hash([Message("assistant", "a")])
