"""Rendered conversations to rows that fit: nothing supervised is lost that could be kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.data.tokens.fit import Row, fit
from ochat_ray.template import Turns

BOS, SYSTEM, USER, ANSWER = 1, 2, 3, 4


def turns(lengths: list[tuple[int, int]], system: int = 0, zero: frozenset[int] = frozenset()) -> Turns:
    """BOS, a system message of some tokens, then exchanges of (user, answer) tokens.

    A token's hundreds are the number of its exchange. Answers in `zero` have no weight.
    """
    ids, weights, ends = [BOS], [0.0], []
    if system:
        ids += [SYSTEM] * system
        weights += [0.0] * system
        ends.append(len(ids))
    for number, (user, answer) in enumerate(lengths, 1):
        ids += [USER + 100 * number] * user
        weights += [0.0] * user
        ends.append(len(ids))
        ids += [ANSWER + 100 * number] * answer
        weights += [0.0 if number in zero else 1.0] * answer
        ends.append(len(ids))
    return Turns(np.array(ids, np.int32), np.array(weights, np.float32), np.array(ends, np.int64), 1)


def answers_of(rows: list[Row]) -> dict[int, int]:
    """Supervised tokens of each exchange over all rows."""
    found: dict[int, int] = {}
    for row in rows:
        for token in row.input_ids[row.weights > 0].tolist():
            found[token // 100] = found.get(token // 100, 0) + 1
    return found


def test_what_fits_is_one_row_in_every_mode() -> None:
    whole = turns([(2, 3), (2, 3)])
    for long in ("truncate", "split", "drop"):
        [row], lost = fit(whole, 11, long, system=False)
        assert lost == 0
        assert row.input_ids.tolist() == whole.input_ids.tolist()
        assert row.weights.tolist() == whole.weights.tolist()


def test_the_end_is_cut_and_what_nothing_is_learnt_from_left_out() -> None:
    [row], lost = fit(turns([(2, 3), (4, 3)]), 8, "truncate", system=False)
    assert row.input_ids.tolist() == [1, 103, 103, 104, 104, 104]
    assert lost == 5


def test_what_nothing_is_learnt_from_is_not_lost_where_it_would_fit() -> None:
    whole = turns([(2, 3), (4, 3)], zero=frozenset({2}))
    assert fit(whole, 13, "truncate", system=False).lost == 0
    assert fit(whole, 10, "truncate", system=False).lost == 3
    assert fit(whole, 10, "split", system=False).lost == 0


def test_long_ones_are_dropped() -> None:
    assert fit(turns([(2, 3), (4, 3)]), 8, "drop", system=False) == ([], 13)


def test_exchanges_are_split_at_users_turns_and_the_opening_is_repeated() -> None:
    rows, lost = fit(turns([(2, 3), (2, 3), (2, 3), (2, 3)], system=1), 12, "split", system=True)
    assert lost == 0
    assert [row.input_ids.tolist() for row in rows] == [
        [1, 2, 103, 103, 104, 104, 104, 203, 203, 204, 204, 204],
        [1, 2, 303, 303, 304, 304, 304, 403, 403, 404, 404, 404],
    ]


def test_an_exchange_that_fits_no_row_is_cut_by_itself() -> None:
    rows, lost = fit(turns([(1, 2), (2, 20), (1, 2)]), 10, "split", system=False)
    assert lost == 13
    assert [row.input_ids.tolist() for row in rows] == [
        [1, 103, 104, 104],
        [1, 203, 203, *[204] * 7],
        [1, 303, 304, 304],
    ]


@pytest.mark.parametrize("long", ["truncate", "split"])
def test_nothing_to_learn_is_no_row(long: str) -> None:
    assert fit(turns([(20, 3)]), 10, long, system=False) == ([], 14)  # type: ignore[arg-type]
    assert fit(turns([(2, 3)], zero=frozenset({1})), 10, long, system=False) == ([], 0)  # type: ignore[arg-type]
    assert fit(turns([(2, 3)], system=12), 10, long, system=True) == ([], 8)  # type: ignore[arg-type]


@given(
    lengths=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=8),
    system=st.integers(0, 5),
    max_tokens=st.integers(1, 40),
    zero=st.frozensets(st.integers(1, 8), max_size=2),
)
def test_splitting_keeps_every_supervised_token_that_fits(
    lengths: list[tuple[int, int]], system: int, max_tokens: int, zero: frozenset[int]
) -> None:
    whole = turns(lengths, system, zero)
    rows, lost = fit(whole, max_tokens, "split", system=system > 0)
    head = 1 + system
    for row in rows:
        assert len(row.input_ids) == len(row.weights) <= max_tokens
        assert row.input_ids[:head].tolist() == whole.input_ids[:head].tolist()
        assert row.weights[-1] > 0
    kept = answers_of(rows)
    if len(whole.input_ids) <= max_tokens:
        assert len(rows) <= 1
    for number, (user, answer) in enumerate(lengths, 1):
        room = max_tokens - head - user
        expected = 0 if number in zero else max(0, min(answer, room))
        if len(whole.input_ids) <= max_tokens and number not in zero:
            expected = answer
        assert kept.get(number, 0) == expected
    # Never fewer than cutting keeps, and each in one row at most.
    cut = answers_of(fit(whole, max_tokens, "truncate", system=system > 0).rows)
    assert sum(kept.values()) >= sum(cut.values())
    # Every token that bears loss is in a row or lost, and what is lost is no more than what cutting loses.
    assert int(np.count_nonzero(whole.weights)) - sum(kept.values()) <= lost
    assert lost <= max(0, len(whole.input_ids) - max_tokens)
