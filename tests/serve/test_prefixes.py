"""Prefixes: the longest known beginning is found, against a plain search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.serve.engine import prefixes as prefixes_module
from ochat_ray.serve.engine.prefixes import BLOCK, Known, Prefixes

TOKENS = st.tuples(
    st.integers(0, 1), st.integers(0, 3 * BLOCK), st.lists(st.integers(0, 1), max_size=50)
).map(lambda made: [made[0]] * made[1] + made[2])


def shared(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@given(st.lists(TOKENS, min_size=1, max_size=8), st.sets(st.integers(0, 7)), TOKENS)
def test_the_longest_beginning_of_a_block_or_more_is_found(
    known: list[list[int]], removed: set[int], prompt: list[int]
) -> None:
    prefixes = Prefixes()
    for key, tokens in enumerate(known):
        prefixes.add(key, tokens)
    for key in removed:
        prefixes.remove(key)
    lengths = {k: shared(tokens, prompt) for k, tokens in enumerate(known) if k not in removed}
    longest = max(lengths.values(), default=0)
    found = prefixes.longest(prompt)
    if longest < BLOCK:
        assert found is None
    else:
        assert found is not None
        assert found == Known(found.key, lengths[found.key])
        assert found.tokens == longest


def test_nothing_is_kept_of_what_was_removed() -> None:
    prefixes = Prefixes()
    for key in range(5):
        prefixes.add(key, list(range(200)))
        prefixes.add(key, list(range(100)))
    for key in range(5):
        prefixes.remove(key)
    assert not prefixes._keys
    assert not prefixes._tokens


def test_a_collision_of_hashes_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes_module, "hashes", lambda tokens: iter(range(len(tokens) // BLOCK)))
    prefixes = Prefixes()
    prefixes.add(1, [1] * (2 * BLOCK))
    assert prefixes.longest([2] * (2 * BLOCK)) == Known(1, 0)
    assert prefixes.longest([1] * BLOCK + [2] * BLOCK) == Known(1, BLOCK)
