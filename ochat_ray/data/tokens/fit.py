"""Rendered conversations to rows of at most so many tokens: cut, split at turns, or left out."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ochat_ray.template import Turns

Long = Literal["truncate", "split", "drop"]


class Row(NamedTuple):
    """Token ids (int32) and loss weights (float32) of a row; the last token's weight is above 0."""

    input_ids: NDArray[np.int32]
    weights: NDArray[np.float32]


class Fitted(NamedTuple):
    """The rows of a conversation, and how many of its tokens had no room in any."""

    rows: list[Row]
    lost: int


def fit(turns: Turns, max_tokens: int, long: Long, *, system: bool) -> Fitted:
    """The rows of a conversation, none of more than `max_tokens`; none at all where nothing in it bears loss.

    `truncate` keeps the beginning. `split` starts a new row at a user's turn wherever the exchange that
    begins there does not fit any more; each row opens as the conversation does (BOS, and the system message
    if `system`), and an exchange that fits no row by itself is cut. So every answer is in one row at most,
    and whole wherever it can be. `drop` keeps nothing of a conversation that is too long.

    Tokens after the last one with loss are left out: nothing is learnt from them. Only those that are beyond
    the limit are lost.
    """
    length = len(turns.input_ids)
    if length <= max_tokens or long == "truncate":
        rows, lost = (
            [Row(turns.input_ids[:max_tokens], turns.weights[:max_tokens])],
            max(0, length - max_tokens),
        )
    elif long == "drop":
        rows, lost = [], length
    else:
        rows, lost = _split(turns, max_tokens, system=system)
    return Fitted(
        [Row(ids[:end], weights[:end]) for ids, weights in rows if (end := _last_loss(weights))], lost
    )


def _split(turns: Turns, max_tokens: int, *, system: bool) -> Fitted:
    first = 1 if system else 0
    head = int(turns.ends[0]) if system else turns.head
    borders = [head, *turns.ends[first + 1 :: 2].tolist()]  # exchanges: a user's turn and its answer
    spans: list[tuple[int, int]] = []
    start = head
    for begin, end in pairwise(borders):
        if head + end - start > max_tokens and begin > start:
            spans.append((start, begin))
            start = begin
    spans.append((start, borders[-1]))
    room = max(0, max_tokens - head)
    rows = [
        Row(
            np.concatenate([turns.input_ids[:head], turns.input_ids[start:end][:room]])[:max_tokens],
            np.concatenate([turns.weights[:head], turns.weights[start:end][:room]])[:max_tokens],
        )
        for start, end in spans
    ]
    lost = max(0, head - max_tokens) + sum(max(0, end - start - room) for start, end in spans)
    return Fitted(rows, lost)


def _last_loss(weights: NDArray[np.float32]) -> int:
    """How many tokens there are up to the last one with loss, that one included; 0 for none."""
    if len(weights) and weights[-1]:  # nearly always, so that none of the others is looked at
        return len(weights)
    found = np.flatnonzero(weights)
    return int(found[-1]) + 1 if len(found) else 0
