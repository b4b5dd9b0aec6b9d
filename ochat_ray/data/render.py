"""Conversations that are kept, with class and split, to the token rows of each target. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ochat_ray.config import DataConfig
from ochat_ray.conversation import Conversation
from ochat_ray.data.clean.conversation import last_line
from ochat_ray.data.dedup.near import Member
from ochat_ray.data.filters import Reason
from ochat_ray.data.records import conversation
from ochat_ray.data.split import split_of
from ochat_ray.data.targets import Target, class_of
from ochat_ray.data.tokens.fit import Row, fit
from ochat_ray.errors import RequestError
from ochat_ray.template import Turns

BATCH = 512  # conversations rendered at a time


class Kept(NamedTuple):
    """A conversation that is kept, as it is rendered: with its class, and its group of near-duplicates."""

    conversation: Conversation
    kind: str | None
    group: str | None
    split: str


class Rendered(NamedTuple):
    """The token rows of a conversation for one target, what it had before it was fitted, and what it lost.

    `fault` is why there are no rows, where there are none.
    """

    rows: list[Row]
    tokens: int
    target_tokens: int
    lost: int
    fault: Reason | None = None

    @property
    def kept_tokens(self) -> int:
        """Tokens of all rows; what opens the conversation stands in each."""
        return sum(len(row.input_ids) for row in self.rows)

    @property
    def kept_targets(self) -> int:
        """Tokens with loss of all rows."""
        return sum(int(np.count_nonzero(row.weights)) for row in self.rows)


def keep(row: dict[str, Any], member: Member | None, config: DataConfig) -> Kept:
    """A conversation with its class's condition and weight, and its side of the split."""
    found = conversation(row)
    kind = class_of(found, config.classes)
    group = member.group if member else None
    if kind is not None:
        weighted = tuple(replace(m, weight=m.weight * kind.weight) for m in found.messages)
        found = replace(found, messages=weighted, condition=kind.condition)
    split = split_of(group or found.id, config.eval_fraction)
    return Kept(found, kind.condition if kind else None, group, split)


def render(kept: Sequence[Kept], target: Target, config: DataConfig) -> list[Rendered]:
    """Conversations as one target has them; each costs only itself."""
    found: list[Rendered] = []
    for start in range(0, len(kept), BATCH):
        batch = kept[start : start + BATCH]
        try:
            turns = _turns(batch, target)
        except Exception:  # one conversation must never stop the run: find which one it is
            found += [_render_one(one, target, config) for one in batch]
        else:
            found += [_fit(one, own, target, config) for one, own in zip(batch, turns, strict=True)]
    return found


def teach(rows: Sequence[dict[str, Any]], targets: Sequence[Target], config: DataConfig) -> list[bool]:
    """Whether any target has something to learn from the conversations in rows of PART."""
    kept = [keep(row, None, config) for row in rows]
    rendered = [render(kept, target, config) for target in targets]
    return [any(found[number].rows for found in rendered) for number in range(len(kept))]


def _render_one(kept: Kept, target: Target, config: DataConfig) -> Rendered:
    try:
        return _fit(kept, _turns([kept], target)[0], target, config)
    except RequestError as error:
        return Rendered([], 0, 0, 0, Reason("bad_condition", str(error)))
    except Exception:
        return Rendered([], 0, 0, 0, Reason("error", last_line()))


def _turns(batch: Sequence[Kept], target: Target) -> list[Turns]:
    conditioned = target.model_type.conditioned
    pairs = [(k.conversation.messages, k.conversation.condition if conditioned else None) for k in batch]
    return target.template().render_batch(pairs, target.encoder())


def _fit(kept: Kept, turns: Turns, target: Target, config: DataConfig) -> Rendered:
    system = kept.conversation.messages[0].role == "system"
    rows, lost = fit(turns, target.max_tokens, config.long_conversations, system=system)
    length = len(turns.input_ids)
    fault = None
    if not rows and length > target.max_tokens and config.long_conversations == "drop":
        fault = Reason("over_context", f"{length:,} tokens, more than {target.max_tokens:,}")
    elif not rows:
        where = f"in the first {target.max_tokens:,} of {length:,} tokens"
        fault = Reason("nothing_to_learn", f"no text of an assistant with a weight {where}")
    return Rendered(rows, length, int(np.count_nonzero(turns.weights)), lost, fault)
