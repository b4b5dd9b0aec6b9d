"""Records to Arrow rows and back, and the schema of the tables that pass between the stages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pyarrow as pa

from ochat_ray.conversation import Conversation, Message, Rejected
from ochat_ray.data.dedup.exact import text_hash

# Kept conversations and rejects in one table: `reason` is null for the kept. `hash` spreads the rows
# over shards: that of the text, so that copies meet, or that of the source for rejects.
PART = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("hash", pa.string(), nullable=False),
        pa.field("model", pa.string()),
        pa.field("condition", pa.string()),
        pa.field("language", pa.string()),
        # As JSON: a column of bytes is moved many times faster than one of lists of structures.
        pa.field("messages", pa.binary(), nullable=False),
        pa.field("chars", pa.int64(), nullable=False),  # of all messages
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("raw", pa.binary()),
    ]
)


def part_table(records: Iterable[Conversation | Rejected]) -> pa.Table:
    """Records as a table of schema PART."""
    return pa.Table.from_pylist([_part_row(record) for record in records], schema=PART)


def ordered(rows: pa.Table) -> pa.Table:
    """Rows of PART in the one order that they alone decide, also where ids and sources are the same."""
    return rows.sort_by([(name, "ascending") for name in PART.names])


def conversation(row: dict[str, Any]) -> Conversation:
    """The conversation in a row of PART."""
    facts = (row["model"], row["condition"], row["language"])
    return Conversation(row["id"], row["source"], messages(row), *facts)


def messages(row: dict[str, Any]) -> tuple[Message, ...]:
    """The messages in a row of PART."""
    return tuple(Message(*fields) for fields in orjson.loads(row["messages"]))


def message_rows(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as values of a MESSAGES column."""
    return [{"role": turn.role, "content": turn.content, "weight": turn.weight} for turn in turns]


def _part_row(record: Conversation | Rejected) -> dict[str, Any]:
    row = {
        "id": record.id,
        "source": record.source,
        "model": record.model,
        "language": record.language,
        "messages": orjson.dumps([(m.role, m.content, m.weight) for m in record.messages]),
        "chars": sum(len(message.content) for message in record.messages),
    }
    if isinstance(record, Conversation):
        return {**row, "condition": record.condition, "hash": text_hash(record.messages)}
    facts = {"reason": record.reason, "detail": record.detail, "raw": record.raw}
    return {**row, **facts, "hash": hashlib.sha256(record.source.encode()).hexdigest()}
