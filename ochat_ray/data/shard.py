"""One shard of conversations to the files of a prepared folder, and what there is to count. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ochat_ray import columns
from ochat_ray.config import DataConfig
from ochat_ray.data.dedup.near import Member, key_of
from ochat_ray.data.facts import Counts, chars, spread, tally
from ochat_ray.data.filters import Reason
from ochat_ray.data.reasons import READ
from ochat_ray.data.records import message_rows, messages, ordered
from ochat_ray.data.render import Kept, Rendered, keep, render
from ochat_ray.data.targets import Target
from ochat_ray.data.tokens.files import TokenRow, tokens_file


@dataclass(frozen=True)
class Finished:
    """The tables and token files of a shard by the folder they belong into, and what there is to count.

    `counts` are those of the manifest, `spread` further ones for the report.
    """

    tables: dict[str, pa.Table]
    tokens: dict[str, pa.Buffer]
    counts: Counts
    spread: Counts


def finish(
    rows: pa.Table, members: Mapping[bytes, Member], targets: Sequence[Target], config: DataConfig
) -> Finished:
    """Turn away near-duplicates, split, render and count rows of PART, in whatever order they are.

    `members` are the near-duplicates among them, by key.
    """
    in_order = ordered(rows).to_pylist()
    rejected: list[dict[str, Any]] = []
    candidates: list[tuple[dict[str, Any], Kept]] = []
    for row in in_order:
        member = members.get(key_of(row["hash"])) if row["reason"] is None else None
        if row["reason"] is not None:
            rejected.append(row)
        elif member and config.near_duplicates.action == "drop" and key_of(row["hash"]) != member.best:
            rejected.append(_turned_away(row, _near_duplicate(member)))
        else:
            candidates.append((row, keep(row, member, config)))
    rendered = {target.name: render([kept for _, kept in candidates], target, config) for target in targets}
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
            "documents": len(in_order),
            "rejected": dict(Counter(row["reason"] for row in rejected)),
            "kept": len(clean),
            "tokens": {name: _token_counts(found) for name, found in tokens.items()},
        },
        spread=_spread(in_order, clean, tokens),
    )


def _turned_away(row: dict[str, Any], reason: Reason) -> dict[str, Any]:
    return {**row, "reason": reason.reason, "detail": reason.detail}


def _near_duplicate(member: Member) -> Reason:
    return Reason("near_duplicate", f"nearly the same text as {member.best_id}, of {member.size} such texts")


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
        "conversations": sum(one.lost > 0 for _, one in found),
        "tokens": sum(one.lost for _, one in found),
        "target_tokens": sum(one.target_tokens - one.kept_targets for _, one in found),
    }
    return counts


def _spread(
    rows: Sequence[dict[str, Any]],
    clean: Sequence[Kept],
    tokens: Mapping[str, Sequence[tuple[Kept, Rendered]]],
) -> Counts:
    read = [row for row in rows if row["reason"] not in READ]
    conversations = [kept.conversation for kept in clean]
    return {
        "messages": spread(len(one.messages) for one in conversations),
        "chars": spread(chars(one.messages) for one in conversations),
        "lengths": {name: spread(one.tokens for _, one in found) for name, found in tokens.items()},
        "models": tally([row["model"] for row in read], [one.model for one in conversations]),
        "languages": tally([row["language"] for row in read], [one.language for one in conversations]),
    }
