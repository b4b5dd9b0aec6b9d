"""OpenChat's own token files, for its own trainer: JSON of its first versions, Parquet of the later ones.

The formats are those of github.com/imoneoi/openchat, `ochat/data/generate_dataset.py`: MODEL_TYPE.SPLIT.json
holds [[tokens, masks]] or, with classes, [[tokens, masks, class]]; MODEL_TYPE.SPLIT.text.json the decoded
texts; MODEL_TYPE.SPLIT.parquet a row a conversation, with labels and weights shifted by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ochat_ray.template import ChatTemplate

PAD_TOKEN_ID = 0
BATCH = 1000
SCHEMA = pa.schema(
    [
        ("total_length", pa.int32()),
        ("num_seqs", pa.float32()),
        ("seqlens", pa.list_(pa.int32())),
        ("nz_input_ids", pa.list_(pa.int32())),
        ("nz_position_ids", pa.list_(pa.int32())),
        ("nz_shifted_label_ids", pa.list_(pa.int32())),
        ("nz_shifted_loss_weights", pa.list_(pa.float32())),
    ]
)


class Tokens(NamedTuple):
    """A row of a token file."""

    kind: str | None
    input_ids: NDArray[np.int32]
    weights: NDArray[np.float32]


def rows_of(shard: pa.RecordBatch) -> Iterator[Tokens]:
    """The rows of a token file's batch."""
    columns = [shard.column(name) for name in ("input_ids", "weights")]
    for index, kind in enumerate(shard.column("class").to_pylist()):
        yield Tokens(kind, *(column[index].values.to_numpy() for column in columns))


def write_json(rows: Iterable[Tokens], template: ChatTemplate, tokens: Path, texts: Path) -> None:
    """Write tokens with masks, and the texts, as JSON lists; one row is in memory at a time."""
    with tokens.open("w", encoding="utf-8") as out, texts.open("w", encoding="utf-8") as readable:
        out.write("[")
        readable.write("[")
        for number, row in enumerate(rows):
            facts = [row.input_ids.tolist(), (row.weights > 0).tolist()]
            out.write((", " if number else "") + json.dumps(facts + ([row.kind] if row.kind else [])))
            text = json.dumps(template.tokenizer.decode_all(row.input_ids.tolist()))
            readable.write((",\n\t" if number else "\n\t") + text)
        out.write("]")
        readable.write("\n]" if readable.tell() > 1 else "]")


def write_parquet(rows: Iterable[Tokens], template: ChatTemplate, path: Path) -> None:
    """Write rows as OpenChat's Parquet, with its metadata; a thousand rows are in memory at a time."""
    metadata = {"metadata_json": json.dumps({"model_type": template.model_type.name})}
    schema = SCHEMA.with_metadata(metadata)
    batch: list[dict[str, object]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for row in rows:
            batch.append(_parquet_row(row))
            if len(batch) == BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _parquet_row(row: Tokens) -> dict[str, object]:
    length = len(row.input_ids)
    labels = np.where(row.weights != 0, row.input_ids, PAD_TOKEN_ID)
    weights = np.append(row.weights[1:], np.float32(0))
    return {
        "total_length": length,
        "num_seqs": float(weights.sum()),
        "seqlens": [length],
        "nz_input_ids": row.input_ids.tolist(),
        "nz_position_ids": list(range(length)),
        "nz_shifted_label_ids": [*labels[1:].tolist(), PAD_TOKEN_ID],
        "nz_shifted_loss_weights": weights.tolist(),
    }
