"""Ids of requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.serve.access.request_id import request_id


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128))
def test_sane_ids_are_kept(given_id: str) -> None:
    assert request_id(given_id.encode()) == given_id


@given(st.binary(max_size=200))
def test_whatever_comes_the_id_is_sane(given_id: bytes) -> None:
    one = request_id(given_id)
    assert 0 < len(one) <= 128 and one.isascii() and one.isprintable() and " " not in one


@pytest.mark.parametrize("given_id", [None, b"", b"a b", b"a\nb", b"a" * 129, "\u00fc".encode(), b"a\n"])
def test_others_are_made_and_differ(given_id: bytes | None) -> None:
    assert request_id(given_id).startswith("req_")
    assert request_id(given_id) != request_id(given_id)
