"""Token files, and OpenChat's own, hold the rows they were given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ochat_ray import columns
from ochat_ray.data.tokens import openchat
from ochat_ray.data.tokens.files import TokenRow, tokens_file
from ochat_ray.data.tokens.fit import Row
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from tests.tokenizers import byte_level

TEMPLATE = ChatTemplate(load_model_type("openchat"), byte_level(["<s>", "<|end_of_turn|>"], bos="<s>"))


def row(id: str, piece: int, kind: str | None, ids: list[int], weights: list[float]) -> TokenRow:
    return TokenRow(id, piece, kind, Row(np.array(ids, np.int32), np.array(weights, np.float32)))


ROWS = [
    row("a", 0, "GPT4", [5, 6, 7], [0, 1, 1]),
    row("a", 1, "GPT4", [8, 9], [0, 0.5]),
    row("b", 0, None, [1] * 10, [0] * 9 + [1]),
]


def batch_of(rows: list[TokenRow]) -> pa.RecordBatch:
    return pa.ipc.open_file(pa.BufferReader(tokens_file(rows, TEMPLATE))).get_batch(0)


def test_rows_come_back_and_can_be_mapped(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    path.write_bytes(tokens_file(ROWS, TEMPLATE))
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        assert reader.num_record_batches == 1
        batch = reader.get_batch(0)
        assert (
            batch.column("input_ids").values.to_numpy(zero_copy_only=True).tolist()
            == [5, 6, 7, 8, 9] + [1] * 10
        )
    assert batch.schema.equals(columns.TOKENS)
    assert batch.schema.metadata[columns.META_TEMPLATE_HASH] == TEMPLATE.hash.encode()
    assert batch.schema.metadata[columns.META_TOKENIZER_HASH] == TEMPLATE.tokenizer.hash.encode()
    assert [(r["id"], r["piece"], r["class"], r["input_ids"], r["weights"]) for r in batch.to_pylist()] == [
        (r.id, r.piece, r.kind, r.row.input_ids.tolist(), r.row.weights.tolist()) for r in ROWS
    ]


def test_no_rows_are_a_file_too() -> None:
    batch = batch_of([])
    assert batch.num_rows == 0 and batch.schema.equals(columns.TOKENS)


def test_openchats_json(tmp_path: Path) -> None:
    ids = (
        TEMPLATE.render_train([]).input_ids
        + TEMPLATE.tokenizer.encode("caf\u00e9 \U0001f600")
        + [TEMPLATE.eot_id]
    )
    rows = [*ROWS[:2], row("c", 0, None, ids, [0] * (len(ids) - 1) + [1])]
    tokens, texts = tmp_path / "t.json", tmp_path / "x.json"
    openchat.write_json(openchat.rows_of(batch_of(rows)), TEMPLATE, tokens, texts)
    assert json.loads(tokens.read_text()) == [
        [[5, 6, 7], [False, True, True], "GPT4"],
        [[8, 9], [False, True], "GPT4"],
        [ids, [False] * (len(ids) - 1) + [True]],
    ]
    assert json.loads(texts.read_text())[2] == "<s>caf\u00e9 \U0001f600<|end_of_turn|>"
    openchat.write_json(iter([]), TEMPLATE, tokens, texts)
    assert json.loads(tokens.read_text()) == json.loads(texts.read_text()) == []


def test_openchats_parquet(tmp_path: Path) -> None:
    openchat.write_parquet(openchat.rows_of(batch_of(ROWS)), TEMPLATE, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert json.loads(table.schema.metadata[b"metadata_json"]) == {"model_type": "openchat"}
    assert table.slice(0, 1).to_pylist() == [
        {
            "total_length": 3,
            "num_seqs": 2.0,
            "seqlens": [3],
            "nz_input_ids": [5, 6, 7],
            "nz_position_ids": [0, 1, 2],
            "nz_shifted_label_ids": [6, 7, 0],
            "nz_shifted_loss_weights": [1.0, 1.0, 0.0],
        }
    ]
    assert table["num_seqs"].to_pylist() == [2.0, 0.5, 1.0]
    assert table.num_rows == 3
