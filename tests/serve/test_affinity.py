"""Affinity: a conversation goes where it went before, unless that replica has too much to do."""

from __future__ import annotations

from ochat_ray.serve.affinity import KEPT, SLACK, Affinity
from ochat_ray.serve.engine.prefixes import BLOCK

FIRST = list(range(5 * BLOCK))
OTHER = list(range(1000, 1000 + 5 * BLOCK))


def test_the_next_turn_goes_where_the_conversation_went() -> None:
    affinity: Affinity[str] = Affinity()
    affinity.sent(FIRST, "a")
    affinity.sent(OTHER, "b")
    loads = {"a": 0, "b": 0}
    assert affinity.best([*FIRST, 1, 2, 3], loads) == "a"
    assert affinity.best([*OTHER, 1, 2, 3], loads) == "b"
    assert affinity.best([7] * 100, loads) is None
    assert affinity.best(FIRST[: BLOCK - 1], loads) is None


def test_the_longest_beginning_decides() -> None:
    affinity: Affinity[str] = Affinity()
    affinity.sent(FIRST, "a")
    affinity.sent(FIRST[: 2 * BLOCK] + OTHER, "b")
    affinity.sent(FIRST[: 2 * BLOCK], "b")
    assert affinity.best(FIRST, {"a": 0, "b": 0}) == "a"
    assert affinity.best(FIRST[: 2 * BLOCK] + OTHER, {"a": 0, "b": 0}) == "b"


def test_a_busy_replica_and_one_that_is_gone_are_passed_over() -> None:
    affinity: Affinity[str] = Affinity()
    affinity.sent(FIRST, "a")
    assert affinity.best(FIRST, {"a": SLACK, "b": 0}) == "a"
    assert affinity.best(FIRST, {"a": SLACK + 1, "b": 0}) is None
    assert affinity.best(FIRST, {"b": 0}) is None


def test_memory_is_bounded() -> None:
    affinity: Affinity[str] = Affinity()
    for number in range(KEPT // 4):
        affinity.sent([number] * (5 * BLOCK), "a")
    assert len(affinity._replicas) == KEPT
