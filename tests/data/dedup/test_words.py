"""Hashes of words and of their runs: the same as one by one, on any text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.data.dedup import words as module
from ochat_ray.data.dedup.words import hash_ngrams, hash_words

TEXT = st.text("aB 1.,\n-\u00e9\u4f60\u597d\u3002\U0001f600")
WORD = re.compile("[\u3000-\u9fff]|(?:[A-Za-z0-9]|[^\x00-\x7f\u3000-\u9fff])+")


def words_of(text: str) -> list[str]:
    return [
        word.group().translate({i: chr(i).lower() for i in range(65, 91)}) for word in WORD.finditer(text)
    ]


@given(texts=st.lists(TEXT, max_size=6), block=st.integers(1, 40))
def test_equal_words_have_equal_hashes_and_others_have_others(texts: list[str], block: int) -> None:
    before, module.BLOCK = module.BLOCK, block
    try:
        found = hash_words(texts)
    finally:
        module.BLOCK = before
    expected = [words_of(text) for text in texts]
    assert np.diff(found.offsets).tolist() == [len(words) for words in expected]
    flat = [word for words in expected for word in words]
    assert (
        len(set(zip(flat, found.hashes.tolist(), strict=True)))
        == len(set(flat))
        == len(set(found.hashes.tolist()))
    )


@given(texts=st.lists(TEXT, max_size=5), n=st.integers(1, 5))
def test_runs_of_words(texts: list[str], n: int) -> None:
    found = hash_ngrams(hash_words(texts), n)
    expected = []
    for text in texts:
        words = words_of(text)
        runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        expected.append(runs or ([tuple(words)] if words else []))
    assert np.diff(found.offsets).tolist() == [len(runs) for runs in expected]
    flat = [run for runs in expected for run in runs]
    assert (
        len(set(zip(flat, found.hashes.tolist(), strict=True)))
        == len(set(flat))
        == len(set(found.hashes.tolist()))
    )


def test_hashes_are_those_of_other_machines() -> None:
    found = hash_ngrams(hash_words(["Hello, World! \u4f60\u597d"]), 2)
    assert found.hashes.tolist() == GOLDEN


GOLDEN = [13245466385928715079, 874254969663800961, 6857576343693258884]


@pytest.mark.parametrize("length", [0, 1, 5, 10_000])
def test_long_words(length: int) -> None:
    assert len(hash_words(["x" * length]).hashes) == (length > 0)
