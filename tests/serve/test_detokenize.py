"""Text comes in whole characters, and never past a stop string."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.serve.engine.detokenize import Detokenizer, StopStrings
from ochat_ray.tokenizer import ESCAPE, SEGMENT
from tests.serve.conftest import make_tokenizer

TOKENIZER = make_tokenizer(vocab_size=260)  # hardly any merges: most characters are several tokens


def pieces(ids: list[int], size: int = 1) -> list[str]:
    detokenizer = Detokenizer(TOKENIZER.decode)
    parts = [ids[at : at + size] for at in range(0, len(ids), size)]
    return [*(detokenizer.push(part) for part in parts), detokenizer.flush()]


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SEGMENT + ESCAPE + "\ufffd")),
    st.integers(1, 40),
)
def test_pieces_are_the_text_and_no_character_is_cut(text: str, size: int) -> None:
    got = pieces(TOKENIZER.encode(text), size)
    assert "".join(got) == text
    assert not any("\ufffd" in piece for piece in got)


@given(st.lists(st.integers(2, TOKENIZER.vocab_size - 1), max_size=60))
def test_any_ids_give_the_text_of_decoding_them_at_once_up_to_broken_bytes(ids: list[int]) -> None:
    assert "".join(pieces(ids)).replace("\ufffd", "") == TOKENIZER.decode(ids).replace("\ufffd", "")


def test_a_broken_tail_is_shown_at_the_end() -> None:
    ids = TOKENIZER.encode("caf\u00e9")[:-1]
    assert "".join(pieces(ids)) == "caf\ufffd"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@given(text=st.text("abc", max_size=40), stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=4))
def test_stop_strings_cut_where_the_first_is_complete_however_text_comes(
    size: int, text: str, stops: list[str]
) -> None:
    stopper = StopStrings(stops)
    shown = ""
    for at in range(0, len(text), size):
        shown += stopper.push(text[at : at + size])
        if stopper.hit:
            break
    else:
        shown += stopper.flush()
    ends = [(text.index(stop) + len(stop), text.index(stop)) for stop in stops if stop in text]
    assert stopper.hit == bool(ends)
    assert shown == (text[: min(ends)[1]] if ends else text)


def test_text_that_cannot_be_a_stop_string_is_not_held_back() -> None:
    stopper = StopStrings(["\nHuman:"])
    assert stopper.push("hello") == "hello"
    assert stopper.push("\nHu") == ""
    assert stopper.push("go") == "\nHugo"
