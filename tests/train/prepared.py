"""Prepared folders for tests, written by the file format alone: training must not need the data stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ochat_ray import columns
from ochat_ray.conversation import Message
from ochat_ray.manifest import file_facts, write_manifest
from ochat_ray.storage import storage
from ochat_ray.template import ChatTemplate

Turns = Sequence[str]


def write_prepared(
    folder: Path, template: ChatTemplate, train: Sequence[Turns], held_out: Sequence[Turns] = ()
) -> None:
    """A finished prepared folder of conversations that alternate user and assistant, in two files a split."""
    metadata = {
        columns.META_MODEL_TYPE: template.model_type.name,
        columns.META_TEMPLATE_HASH: template.hash,
        columns.META_TOKENIZER_HASH: template.tokenizer.hash,
    }
    files = {}
    for split, conversations in (("train", train), ("eval", held_out)):
        for part in range(2):
            rows = []
            for index, turns in enumerate(conversations[part::2]):
                roles = ("user", "assistant")
                messages = [Message(roles[i % 2], text) for i, text in enumerate(turns)]
                rendered = template.render_train(messages)
                tokens = {"input_ids": rendered.input_ids, "weights": rendered.weights}
                rows.append({"id": f"{part}-{index}", "piece": 0, **tokens})
            name = f"tokens/{template.model_type.name}/{split}/{part}.arrow"
            table = pa.Table.from_pylist(rows, schema=columns.TOKENS.with_metadata(metadata))
            out = pa.BufferOutputStream()
            with pa.ipc.new_file(out, table.schema) as writer:
                writer.write_batch(table.combine_chunks().to_batches()[0] if rows else _empty(table.schema))
            storage(folder).write(name, out.getvalue())
            files[name] = file_facts(out.getvalue())
    write_manifest(storage(folder), files, {"counts": {"kept": len(train) + len(held_out)}})


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)
