"""Near-duplicates: found, told apart from strangers, joined to clusters, the same whatever the order."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.config import NearDuplicateConfig
from ochat_ray.data.dedup.near import (
    CROWD,
    Candidate,
    Member,
    band_table,
    candidate_pairs,
    clusters,
    jaccard,
    key_of,
    signatures,
    sketches,
)

CONFIG = NearDuplicateConfig(action="drop")
VOCABULARY = [f"word{i}" for i in range(3000)]


def text(seed: int, length: int = 200) -> str:
    return " ".join(random.Random(seed).choices(VOCABULARY, k=length))


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def found(texts: list[str], order: list[int] | None = None, useless: Sequence[int] = ()) -> list[Member]:
    order = order or list(range(len(texts)))
    keys = [key(index) for index in order]
    table = band_table(keys, [texts[index] for index in order], CONFIG)
    pairs = candidate_pairs(table)
    ends = list(zip(pairs["a"].to_pylist(), pairs["b"].to_pylist(), strict=True))
    candidates = [Candidate(i in useless, -len(texts[i]), f"id{i:03}", key(i)) for i in order]
    return clusters(candidates, sketches([texts[i] for i in order], CONFIG), ends, CONFIG.jaccard)


def groups(members: list[Member]) -> set[frozenset[int]]:
    by_best: dict[bytes, set[int]] = {}
    for member in members:
        by_best.setdefault(member.best, set()).add(int.from_bytes(member.key, "big"))
    return {frozenset(group) for group in by_best.values()}


def test_small_changes_are_found_and_strangers_are_not() -> None:
    texts = [text(seed) for seed in range(200)]
    near = [f"Please {texts[i]} thanks" for i in range(0, 200, 10)]
    members = found(texts + near)
    assert groups(members) == {frozenset({i * 10, 200 + i}) for i in range(20)}
    assert all(member.size == 2 for member in members)


def test_the_longest_is_the_best_and_the_smallest_id_the_group() -> None:
    base = text(1)
    members = found([base, base + " more", base + " and more", text(2)])
    assert {member.best for member in members} == {key(2)}
    assert {(member.best_id, member.group, member.size) for member in members} == {("id002", "id000", 3)}


def test_one_from_which_nothing_can_be_learnt_stands_for_none_from_which_something_can() -> None:
    base = text(1)
    texts = [base, base + " more", base + " and more"]
    assert {member.best for member in found(texts, useless=[2])} == {key(1)}
    assert {member.best for member in found(texts, useless=[0, 1, 2])} == {key(2)}


def test_chains_are_joined() -> None:
    words = text(3, 400).split()
    chain = [" ".join(words[start : start + 300]) for start in range(0, 100, 15)]
    assert groups(found(chain)) == {frozenset(range(len(chain)))}


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_order_does_not_matter(seed: int) -> None:
    texts = [text(i // 3) + (" x" * (i % 3)) for i in range(30)]
    order = random.Random(seed).sample(range(30), 30)
    assert found(texts, order) == found(texts)


def test_crowds_stay_cheap_and_whole() -> None:
    texts = [text(1) + f" v{i}" for i in range(300)] + [text(2)]
    table = band_table([key(i) for i in range(301)], texts, CONFIG)
    assert candidate_pairs(table).num_rows < 300 * 300 / 4
    assert groups(found(texts)) == {frozenset(range(300))}
    assert CROWD < 300


def test_texts_without_words_are_like_nothing() -> None:
    assert found(["?", "!!", "", "...", "a b c d"]) == []
    assert band_table([key(0)], ["..."], CONFIG).num_rows == 0


def test_nothing_at_all() -> None:
    assert found([]) == []
    assert candidate_pairs(band_table([], [], CONFIG)).num_rows == 0


def test_the_estimate_is_close_to_the_share_in_common() -> None:
    words = text(5, 2000).split()
    for share in (0.2, 0.5, 0.8, 0.95):
        cut = int(2000 * 2 * share / (1 + share))  # words in common, so that the union has the rest
        a, b = " ".join(words), " ".join(words[:cut]) + " " + text(6, 2000 - cut)
        estimate = jaccard(*(sketches([one], CONFIG) for one in (a, b)))[0]
        assert estimate == pytest.approx(share, abs=0.08)


def test_every_row_of_a_band_meets_its_like_in_any_block() -> None:
    texts = [text(1), text(1) + " x", text(2)]
    table = band_table([key(i) for i in range(3)], texts, CONFIG)
    assert table.num_rows == 3 * CONFIG.bands
    by_half = [table.filter(pa.array(table["band"].to_numpy() % 2 == half)) for half in (0, 1)]
    whole = set(zip(*candidate_pairs(table).to_pydict().values(), strict=True))
    halves = [set(zip(*candidate_pairs(half).to_pydict().values(), strict=True)) for half in by_half]
    assert whole == halves[0] | halves[1] == {(key(0), key(1))}


def test_signatures_are_those_of_other_machines() -> None:
    assert signatures(["the quick brown fox jumps"], 3, 4).tolist() == GOLDEN
    assert key_of("0f" * 32) == bytes([15] * 16)
    assert np.array_equal(signatures(["a b c"], 3, 8), signatures(["A, b. C"], 3, 8))


GOLDEN = [[2904495155, 573641236, 2389515873, 1647993829]]
