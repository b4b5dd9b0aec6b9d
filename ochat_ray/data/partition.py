"""One partition, which holds all copies of every text in it, to the tables of a prepared folder. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ochat_ray import __version__, columns
from ochat_ray.config import DataConfig
from ochat_ray.data.clean import last_line
from ochat_ray.data.dedup import best_copies
from ochat_ray.data.filters import Reason, model_not_wanted
from ochat_ray.data.records import conversation
from ochat_ray.data.tokenize import TokenRow, tokenize
from ochat_ray.template import ChatTemplate

Row = dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """Tables by the folder they belong into, and what there is to count."""

    tables: dict[str, pa.Table]
    counts: dict[str, Any]


def finish(rows: pa.Table, template: ChatTemplate, config: DataConfig, max_tokens: int) -> Finished:
    """Turn away copies and unwanted models, split, render and count rows of PART, in whatever order."""
    rows = rows.sort_by([("id", "ascending"), ("source", "ascending")])
    understood = rows.filter(rows["reason"].is_null())
    rejected = [
        _reject(row, Reason(row["reason"], row["detail"]))
        for row in _rows(rows.filter(rows["reason"].is_valid()))
    ]
    kept: list[Row] = []
    tokens: dict[str, list[TokenRow]] = {split: [] for split in columns.SPLITS}
    ids: dict[str, list[str]] = {split: [] for split in columns.SPLITS}
    for row, reason in zip(_rows(understood), _reasons(understood, config.models), strict=True):
        outcome = reason or _tokenize(row, template, max_tokens)
        if isinstance(outcome, Reason):
            rejected.append(_reject(row, outcome))
            continue
        split = split_of(row["hash"], config.eval_fraction)
        kept.append({**row, "split": split})
        ids[split].append(row["id"])
        tokens[split].append(outcome)
    rejected.sort(key=lambda row: (row["id"], row["source"]))
    counts = {
        "pages": rows.num_rows,
        "conversations": understood.num_rows,
        "rejected": dict(Counter(row["reason"] for row in rejected)),
        "kept": len(kept),
        **{split: _token_counts(tokens[split]) for split in columns.SPLITS},
    }
    tables = {
        "conversations": pa.Table.from_pylist(kept, schema=columns.CONVERSATIONS),
        "rejected": pa.Table.from_pylist(rejected, schema=columns.REJECTED),
        **{f"tokens/{split}": _tokens_table(ids[split], tokens[split], template) for split in columns.SPLITS},
    }
    return Finished(tables, counts)


def split_of(text_hash: str, eval_fraction: float) -> str:
    """The split of a text: the same in every run, whatever else there is."""
    # Other digits of the hash than those that choose the partition, so that eval is spread over all.
    return "eval" if int(text_hash[16:32], 16) / 2**64 < eval_fraction else "train"


def add_counts(counts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of disjoint sets of pages, added up, each level of them."""
    total: dict[str, Any] = {}
    for key in dict.fromkeys(key for one in counts for key in one):
        values = [one[key] for one in counts if key in one]
        total[key] = add_counts(values) if isinstance(values[0], dict) else sum(values)
    return total


def _rows(table: pa.Table) -> list[Row]:
    rows: list[Row] = table.to_pylist()
    return rows


def _reasons(rows: pa.Table, models: tuple[str, ...]) -> list[Reason | None]:
    """Why each row is turned away, if it is: a copy of one that is wanted, or itself not wanted."""
    ids, labels = rows["id"].to_pylist(), rows["model"].to_pylist()
    reasons = []
    for row, best in enumerate(best_copies(rows, models)):
        reason = model_not_wanted(labels[best], models)
        if reason is None and best != row:
            reason = Reason("duplicate", f"the same text as {ids[best]}")
        elif reason is not None:
            reason = model_not_wanted(labels[row], models)
        reasons.append(reason)
    return reasons


def _tokenize(row: Row, template: ChatTemplate, max_tokens: int) -> TokenRow | Reason:
    try:
        return tokenize(conversation(row), template, max_tokens)
    except Exception:  # one conversation must never stop the run
        return Reason("error", last_line())


def _reject(row: Row, reason: Reason) -> Row:
    return {**row, "reason": reason.reason, "detail": reason.detail}


def _tokens_table(ids: list[str], tokens: list[TokenRow], template: ChatTemplate) -> pa.Table:
    metadata = {
        columns.META_MODEL_TYPE: template.model_type.name,
        columns.META_TEMPLATE_HASH: template.hash,
        columns.META_TOKENIZER_HASH: template.tokenizer.hash,
        columns.META_VERSION: __version__,
    }
    data = {
        "id": ids,
        "input_ids": [token_row.rendered.input_ids for token_row in tokens],
        "weights": [token_row.rendered.weights for token_row in tokens],
    }
    return pa.Table.from_pydict(data, schema=columns.TOKENS.with_metadata(metadata))


def _token_counts(tokens: list[TokenRow]) -> dict[str, int]:
    return {
        "conversations": len(tokens),
        "tokens": sum(len(row.rendered.input_ids) for row in tokens),
        "target_tokens": sum(weight > 0 for row in tokens for weight in row.rendered.weights),
        "truncated": sum(row.truncated for row in tokens),
    }
