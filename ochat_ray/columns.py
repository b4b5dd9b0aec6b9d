"""Arrow schemas and metadata keys of every file we write. Stages share files, not code: this is how.

A prepared folder holds

    clean/*.parquet                          CLEAN: what was kept, as text
    rejected/*.parquet                       REJECTED: what was not, with its reason
    tokens/MODEL_TYPE/{train,eval}/*.arrow   TOKENS: what training maps into memory
    report.html, report.json                 for people, and for programs
    manifest.json                            counts, recipe, versions, the sha256 of every file

and a folder of packed pages PAGES as pages/*.parquet and a manifest.
"""

from __future__ import annotations

import pyarrow as pa

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.float32())]))

CLEAN = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("model", pa.string()),
        pa.field("class", pa.string()),
        pa.field("condition", pa.string()),
        pa.field("language", pa.string()),
        pa.field("group", pa.string()),  # the smallest id among its near-duplicates, where it has any
        pa.field("messages", MESSAGES, nullable=False),
    ]
)

REJECTED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("model", pa.string()),
        pa.field("language", pa.string()),
        pa.field("messages", MESSAGES),
        pa.field("raw", pa.binary()),
    ]
)

TOKENS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("piece", pa.int32(), nullable=False),  # from 0, of the rows of a split conversation
        pa.field("class", pa.string()),
        pa.field("input_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("weights", pa.list_(pa.float32()), nullable=False),
    ]
)

PAGES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("page", pa.binary(), nullable=False),
    ]
)

META_MODEL_TYPE = b"ochat.model_type"
META_TEMPLATE_HASH = b"ochat.template_hash"
META_TOKENIZER_HASH = b"ochat.tokenizer_hash"
META_VERSION = b"ochat.version"

SPLITS = ("train", "eval")
