"""Room: spans never overlap, contents survive every move, and free blocks are never lost."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.serve.engine.room import BLOCK, Room

OPERATIONS = st.lists(
    st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(1, 6 * BLOCK))), min_size=1, max_size=60
)


def blocks(tokens: int) -> int:
    return -(-tokens // BLOCK)


@given(OPERATIONS)
def test_spans_keep_their_contents_and_fit_whenever_enough_is_free(
    operations: list[tuple[int, int | None]],
) -> None:
    room = Room(8 * BLOCK + 5)
    memory: list[tuple[int, int] | None] = [None] * room.capacity
    lengths: dict[int, int] = {}
    for key, tokens in operations:
        if tokens is None:
            if key in lengths:
                room.release(key)
                del lengths[key]
            continue
        held = room.spans[key].size if key in lengths else 0
        wanted = max(0, blocks(tokens) * BLOCK - held)
        free = room.free
        moves = room.reserve(key, tokens)
        assert (moves is None) == (wanted > free)
        if moves is None:
            continue
        for source, target, size in moves:
            memory[target : target + size] = memory[source : source + size]
        start = room.spans[key].start
        for position in range(lengths.get(key, 0), tokens):
            memory[start + position] = (key, position)
        lengths[key] = max(lengths.get(key, 0), tokens)
        taken = sorted(room.spans.values())
        assert all(a.end <= b.start for a, b in itertools.pairwise(taken))
        assert taken[-1].end <= room.capacity
        for k, length in lengths.items():
            at = room.spans[k].start
            assert memory[at : at + length] == [(k, position) for position in range(length)]


def test_growth_in_place_moves_nothing() -> None:
    room = Room(10 * BLOCK)
    assert room.reserve(1, BLOCK) == []
    assert room.reserve(1, 5 * BLOCK) == []
    assert room.free == 5 * BLOCK


def test_a_request_fits_into_scattered_free_blocks() -> None:
    room = Room(4 * BLOCK)
    for key in range(4):
        room.reserve(key, BLOCK)
    room.release(0)
    room.release(2)
    moves = room.reserve(9, 2 * BLOCK)
    assert moves, "two free blocks that are not neighbours suffice once the others slide aside"
