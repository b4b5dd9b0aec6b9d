"""Token rows as Arrow files, uncompressed and in one batch, so that training maps them into memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ochat_ray import __version__, columns
from ochat_ray.data.tokens.fit import Row
from ochat_ray.template import ChatTemplate


class TokenRow(NamedTuple):
    """A row of a conversation: which (from 0) of its rows, of which class, and its tokens."""

    id: str
    piece: int
    kind: str | None
    row: Row


def tokens_file(rows: Sequence[TokenRow], template: ChatTemplate) -> pa.Buffer:
    """An Arrow IPC file of the rows, which says what tokenised them."""
    metadata = {
        columns.META_MODEL_TYPE: template.model_type.name,
        columns.META_TEMPLATE_HASH: template.hash,
        columns.META_TOKENIZER_HASH: template.tokenizer.hash,
        columns.META_VERSION: __version__,
    }
    schema = columns.TOKENS.with_metadata(metadata)
    lengths = np.array([len(row.row.input_ids) for row in rows], np.int64)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(_joined([getattr(r.row, name) for r in rows], kind)))
        for name, kind in (("input_ids", np.int32), ("weights", np.float32))
    ]
    data = [
        pa.array([row.id for row in rows], pa.string()),
        pa.array([row.piece for row in rows], pa.int32()),
        pa.array([row.kind for row in rows], pa.string()),
        *lists,
    ]
    out = pa.BufferOutputStream()
    with pa.ipc.new_file(out, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(data, schema=schema))
    return out.getvalue()


def _joined(arrays: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(arrays).astype(kind, copy=False) if arrays else np.zeros(0, kind)
