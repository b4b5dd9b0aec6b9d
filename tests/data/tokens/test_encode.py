"""The fast encoder yields the ids of the plain one, or is not used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.data.tokens import encode as module
from ochat_ray.data.tokens.encode import SAMPLES, Arrays, Encoder
from ochat_ray.tokenizer import ESCAPE, SEGMENT, ChatTokenizer
from tests.tokenizers import byte_level, metaspace, metaspace_split, sentencepiece_like

MAKERS = [byte_level, sentencepiece_like, metaspace, metaspace_split]
SPECIALS = ["<s>", "<|end_of_turn|>"]


def same(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:  # type: ignore[type-arg]
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("make", MAKERS)
@given(texts=st.lists(st.text() | st.text("a <s>|end_of_turn\n"), max_size=5))
def test_ids_are_those_of_the_tokenizer(make: object, texts: list[str]) -> None:
    tokenizer, encoder = made(make)
    assert same(encoder(texts), tokenizer.encode_arrays(texts))
    assert all(array.dtype == np.int32 for array in encoder([*texts, "x"]))


CACHE: dict[object, tuple[ChatTokenizer, Encoder]] = {}


def made(make: object) -> tuple[ChatTokenizer, Encoder]:
    if make not in CACHE:
        tokenizer = make(SPECIALS)  # type: ignore[operator]
        CACHE[make] = tokenizer, Encoder(tokenizer)
    return CACHE[make]


def test_our_marks_in_a_text_are_heeded() -> None:
    tokenizer, encoder = made(sentencepiece_like)
    texts = [f"a{SEGMENT}b", f"<{ESCAPE}s>", "plain"]
    assert same(encoder(texts), tokenizer.encode_arrays(texts))


def test_gigatoken_is_used_where_it_is_installed() -> None:
    pytest.importorskip("gigatoken", reason="needs the extra gigatoken")
    assert made(sentencepiece_like)[1].backend.startswith("gigatoken ")


def test_one_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = byte_level(SPECIALS)

    def wrong(texts: Sequence[str]) -> Arrays:
        return [
            ids[:-1] if "now" in text else ids
            for text, ids in zip(texts, tokenizer.encode_arrays(texts), strict=True)
        ]

    monkeypatch.setattr(module, "_gigatoken", lambda _: wrong)
    assert not any("now" in text for text in SAMPLES)
    encoder = Encoder(tokenizer)
    assert same(encoder(["as it is now"]), tokenizer.encode_arrays(["as it is now"]))
    monkeypatch.setattr(module, "SAMPLES", ("now",))
    assert Encoder(tokenizer).backend.startswith("tokenizers ")


def test_without_it_the_tokenizer_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gigatoken", None)
    tokenizer = byte_level(SPECIALS)
    encoder = Encoder(tokenizer)
    assert encoder.backend.startswith("tokenizers ")
    assert same(encoder(["a", ""]), tokenizer.encode_arrays(["a", ""]))


def test_llamas_vocabulary(shared_data: Path) -> None:
    tokenizer = ChatTokenizer.load(shared_data / "llama_tokenizer")
    encoder = Encoder(tokenizer)
    texts = [*SAMPLES, "  two spaces", "x" * 3000, "\u00e9" * 50]
    assert same(encoder(texts), tokenizer.encode_arrays(texts))
