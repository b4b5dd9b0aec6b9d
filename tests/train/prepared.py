"""Prepared folders for tests, written by the file format alone: training must not need the data stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ochat_ray import columns
from ochat_ray.conversation import Message
from ochat_ray.manifest import write_manifest
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
    files = []
    for split, conversations in (("train", train), ("eval", held_out)):
        for part in range(2):
            rows = []
            for index, turns in enumerate(conversations[part::2]):
                roles = ("user", "assistant")
                messages = [Message(roles[i % 2], text) for i, text in enumerate(turns)]
                rendered = template.render_train(messages)
                rows.append(
                    {"id": f"{part}-{index}", "input_ids": rendered.input_ids, "weights": rendered.weights}
                )
            path = folder / "tokens" / split / f"{part}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            table = pa.Table.from_pylist(rows, schema=columns.TOKENS.with_metadata(metadata))
            pq.write_table(table, path)
            files.append(path)
    write_manifest(folder, files, {"counts": {"kept": len(train) + len(held_out)}})
