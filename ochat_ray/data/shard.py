"""One shard of conversations to the files of a prepared folder, and what there is to count. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ochat_ray import columns
from ochat_ray.config import DataConfig
from ochat_ray.conversation import Conversation
from ochat_ray.data.clean.conversation import last_line
from ochat_ray.data.dedup.near import Member, key_of
from ochat_ray.data.facts import Counts, chars, spread, tally
from ochat_ray.data.filters import Reason
from ochat_ray.data.reasons import READ
from ochat_ray.data.records import conversation, message_rows, messages
from ochat_ray.data.split import split_of
from ochat_ray.data.targets import Target, class_of
from ochat_ray.data.tokens.files import TokenRow, tokens_file
from ochat_ray.data.tokens.fit import Row, fit
from ochat_ray.errors import RequestError
from ochat_ray.template import Turns

BATCH = 512  # conversations rendered at a time


@dataclass(frozen=True)
class Finished:
    """The tables and token files of a shard by the folder they belong into, and what there is to count.

    `counts` are those of the manifest, `spread` further ones for the report.
    """

    tables: dict[str, pa.Table]
    tokens: dict[str, pa.Buffer]
    counts: Counts
    spread: Counts


class Kept(NamedTuple):
    """A conversation that is kept, as it is rendered: with its class, and its group of near-duplicates."""

    conversation: Conversation
    kind: str | None
    group: str | None
    split: str


class Rendered(NamedTuple):
    """The token rows of a conversation for one target, and what it had before it was fitted.

    `fault` is why there are no rows, where there are none.
    """

    rows: list[Row]
    tokens: int
    target_tokens: int
    fault: Reason | None = None

    @property
    def kept_tokens(self) -> int:
        """Tokens of all rows; what opens the conversation stands in each."""
        return sum(len(row.input_ids) for row in self.rows)

    @property
    def kept_targets(self) -> int:
        """Tokens with loss of all rows."""
        return sum(int(np.count_nonzero(row.weights)) for row in self.rows)


def finish(
    rows: pa.Table, members: Mapping[bytes, Member], targets: Sequence[Target], config: DataConfig
) -> Finished:
    """Turn away near-duplicates, split, render and count rows of PART, in whatever order they are.

    `members` are the near-duplicates among them, by key.
    """
    ordered = rows.sort_by([("id", "ascending"), ("source", "ascending")]).to_pylist()
    rejected: list[dict[str, Any]] = []
    candidates: list[tuple[dict[str, Any], Kept]] = []
    for row in ordered:
        member = members.get(key_of(row["hash"])) if row["reason"] is None else None
        if row["reason"] is not None:
            rejected.append(row)
        elif member and config.near_duplicates.action == "drop" and key_of(row["hash"]) != member.best:
            rejected.append(_turned_away(row, _near_duplicate(member)))
        else:
            candidates.append((row, _keep(row, member, config)))
    rendered = {target.name: _render([kept for _, kept in candidates], target, config) for target in targets}
    clean: list[Kept] = []
    for (row, kept), *outcomes in zip(candidates, *rendered.values(), strict=True):
        faults = [outcome.fault for outcome in outcomes if outcome.fault is not None]
        if len(faults) == len(outcomes):
            rejected.append(_turned_away(row, faults[0]))
        else:
            clean.append(kept)
    rejected.sort(key=lambda row: (row["id"], row["source"]))
    tokens = {
        name: [(kept, one) for (_, kept), one in zip(candidates, found, strict=True)]
        for name, found in rendered.items()
    }
    return Finished(
        tables={
            "clean": pa.Table.from_pylist(list(map(_clean_row, clean)), schema=columns.CLEAN),
            "rejected": pa.Table.from_pylist(
                [_rejected_row(row) for row in rejected], schema=columns.REJECTED
            ),
        },
        tokens={
            f"tokens/{target.name}/{split}": _tokens_file(tokens[target.name], split, target)
            for target in targets
            for split in columns.SPLITS
        },
        counts={
            "documents": len(ordered),
            "rejected": dict(Counter(row["reason"] for row in rejected)),
            "kept": len(clean),
            "tokens": {name: _token_counts(found) for name, found in tokens.items()},
        },
        spread=_spread(ordered, clean, tokens),
    )


def _turned_away(row: dict[str, Any], reason: Reason) -> dict[str, Any]:
    return {**row, "reason": reason.reason, "detail": reason.detail}


def _near_duplicate(member: Member) -> Reason:
    return Reason("near_duplicate", f"nearly the same text as {member.best_id}, of {member.size} such texts")


def _keep(row: dict[str, Any], member: Member | None, config: DataConfig) -> Kept:
    """A conversation with its class's condition and weight, and its side of the split."""
    found = conversation(row)
    kind = class_of(found, config.classes)
    group = member.group if member else None
    if kind is not None:
        weighted = tuple(replace(m, weight=m.weight * kind.weight) for m in found.messages)
        found = replace(found, messages=weighted, condition=kind.condition)
    split = split_of(group or found.id, config.eval_fraction)
    return Kept(found, kind.condition if kind else None, group, split)


def _render(kept: Sequence[Kept], target: Target, config: DataConfig) -> list[Rendered]:
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


def _render_one(kept: Kept, target: Target, config: DataConfig) -> Rendered:
    try:
        return _fit(kept, _turns([kept], target)[0], target, config)
    except RequestError as error:
        return Rendered([], 0, 0, Reason("bad_condition", str(error)))
    except Exception:
        return Rendered([], 0, 0, Reason("error", last_line()))


def _turns(batch: Sequence[Kept], target: Target) -> list[Turns]:
    conditioned = target.model_type.conditioned
    pairs = [(k.conversation.messages, k.conversation.condition if conditioned else None) for k in batch]
    return target.template().render_batch(pairs, target.encoder())


def _fit(kept: Kept, turns: Turns, target: Target, config: DataConfig) -> Rendered:
    system = kept.conversation.messages[0].role == "system"
    rows = fit(turns, target.max_tokens, config.long_conversations, system=system)
    length = len(turns.input_ids)
    fault = None
    if not rows and length > target.max_tokens and config.long_conversations == "drop":
        fault = Reason("over_context", f"{length:,} tokens, more than {target.max_tokens:,}")
    elif not rows:
        where = f"in the first {target.max_tokens:,} of {length:,} tokens"
        fault = Reason("nothing_to_learn", f"no text of an assistant with a weight {where}")
    return Rendered(rows, length, int(np.count_nonzero(turns.weights)), fault)


def _clean_row(kept: Kept) -> dict[str, Any]:
    one = kept.conversation
    return {
        "id": one.id,
        "source": one.source,
        "split": kept.split,
        "model": one.model,
        "class": kept.kind,
        "condition": one.condition,
        "language": one.language,
        "group": kept.group,
        "messages": message_rows(one.messages),
    }


def _rejected_row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "messages": message_rows(messages(row))}


def _tokens_file(found: Sequence[tuple[Kept, Rendered]], split: str, target: Target) -> pa.Buffer:
    rows = [
        TokenRow(kept.conversation.id, piece, kept.kind, row)
        for kept, rendered in found
        if kept.split == split
        for piece, row in enumerate(rendered.rows)
    ]
    return tokens_file(rows, target.template())


def _token_counts(found: Sequence[tuple[Kept, Rendered]]) -> Counts:
    counts: Counts = {}
    for split in columns.SPLITS:
        mine = [one for kept, one in found if kept.split == split and one.rows]
        counts[split] = {
            "conversations": len(mine),
            "rows": sum(len(one.rows) for one in mine),
            "tokens": sum(one.kept_tokens for one in mine),
            "target_tokens": sum(one.kept_targets for one in mine),
        }
    counts["lost"] = {
        "conversations": sum(one.kept_targets < one.target_tokens for _, one in found),
        "tokens": sum(max(0, one.tokens - one.kept_tokens) for _, one in found),
        "target_tokens": sum(one.target_tokens - one.kept_targets for _, one in found),
    }
    return counts


def _spread(
    ordered: Sequence[dict[str, Any]],
    clean: Sequence[Kept],
    tokens: Mapping[str, Sequence[tuple[Kept, Rendered]]],
) -> Counts:
    read = [row for row in ordered if row["reason"] not in READ]
    conversations = [kept.conversation for kept in clean]
    return {
        "messages": spread(len(one.messages) for one in conversations),
        "chars": spread(chars(one.messages) for one in conversations),
        "lengths": {name: spread(one.tokens for _, one in found) for name, found in tokens.items()},
        "models": tally([row["model"] for row in read], [one.model for one in conversations]),
        "languages": tally([row["language"] for row in read], [one.language for one in conversations]),
    }
