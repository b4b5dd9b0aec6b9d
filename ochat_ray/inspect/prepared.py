"""Conversations, rejects and tokens of a prepared folder, or of one of its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ochat_ray.conversation import Message
from ochat_ray.errors import DataError
from ochat_ray.inspect.choose import Choice, Row, rows
from ochat_ray.inspect.show import Style, funnel, tokens, turns
from ochat_ray.manifest import NAME, read_manifest
from ochat_ray.storage import Storage, is_remote, read, storage
from ochat_ray.tokenizer import ChatTokenizer

FOLDERS = ("clean", "rejected", "tokens")  # of a prepared one, whose files are shown


def show_prepared(path: str, choice: Choice, style: Style) -> Iterator[str]:
    """Lines that show a prepared folder, or one file of it. Raises DataError if nothing is there, or for a
    choice or view that there is not."""
    folder, below = folder_of(path) or (storage(path), "")
    manifest = read_manifest(folder, remedy="`ochat-ray prepare`")
    if manifest.get("kind") == "packed":
        yield f"{manifest['counts']['pages']:,} saved pages in {len(manifest['files']):,} files"
        return
    kind = below.split("/")[0] or ("rejected" if choice.rejected is not None else _kind(style))
    if choice.rejected is not None and kind != "rejected":
        raise DataError(f"{path}: no rejects are there; give {folder.location}")
    if style.view == "tokens" and kind != "tokens":
        raise DataError(f"{path}: what is {kind} has no tokens; leave out --as, or give {folder.location}")
    if not below and choice.id is None and choice.rejected is None:
        yield funnel(manifest["counts"])
    if kind == "rejected" and choice.rejected and choice.rejected not in manifest["counts"]["rejected"]:
        reasons = ", ".join(manifest["counts"]["rejected"]) or "none"
        raise DataError(f"{path}: nothing was rejected for {choice.rejected!r}; reasons: {reasons}")
    found = False
    for file, row in rows(folder, _files(manifest, kind, below), choice):
        found = True
        yield from _tokens(row, folder, file, style) if kind == "tokens" else _turns(row, style)
    if choice.id is not None and not found and not below:
        for _, row in rows(folder, _files(manifest, "rejected", ""), choice):
            found = True
            yield from _turns(row, style)
    if not found:
        wanted = f"the id {choice.id!r}" if choice.id is not None else "any rows"
        raise DataError(
            f"{path}: has no conversation with {wanted}; `ochat-ray inspect FOLDER` shows some ids"
        )


def _kind(style: Style) -> str:
    return "tokens" if style.view == "tokens" else "clean"


def folder_of(path: str) -> tuple[Storage, str] | None:
    """The finished folder that a path is or lies in, and the path below it."""
    place = path.rstrip("/") if is_remote(path) else str(Path(path).absolute())
    below: list[str] = []
    while True:
        folder = storage(place)
        if (not below or below[0] in FOLDERS) and folder.exists(NAME):
            return folder, "/".join(below)
        parent, _, name = place.rpartition("/")
        parent = "" if parent.endswith(":/") else parent  # a bucket is in no folder
        if len(below) == 4 or not parent:  # tokens/MODEL_TYPE/SPLIT/FILE
            return None
        place, below = parent, [name, *below]


def _files(manifest: dict[str, Any], kind: str, below: str) -> list[str]:
    names = [name for name in manifest["files"] if name.endswith((".parquet", ".arrow"))]
    return [name for name in names if f"{name}/".startswith(f"{below or kind}/")]


def _turns(row: Row, style: Style) -> Iterator[str]:
    facts = [row.get("model"), row.get("class"), row.get("language"), row.get("split")]
    title = ", ".join([row["id"], *(str(fact) for fact in facts if fact), row["source"]])
    messages = [Message(**message) for message in row["messages"] or ()]
    if row.get("reason"):
        title += f"\n{row['reason']}: {row['detail']}"
    yield from turns(title, messages, style)


def _tokens(row: Row, folder: Storage, file: str, style: Style) -> Iterator[str]:
    model_type = file.split("/")[1]
    with_loss = sum(weight > 0 for weight in row["weights"])
    facts = [
        row["id"],
        model_type,
        f"row {row['piece']}",
        row["class"] or "",
        f"{len(row['input_ids']):,} tokens",
    ]
    title = ", ".join([fact for fact in facts if fact] + [f"{with_loss:,} with loss"])
    yield tokens(title, row["input_ids"], row["weights"], _tokenizer(folder, model_type), style)


def _tokenizer(folder: Storage, model_type: str) -> ChatTokenizer:
    return ChatTokenizer(json.loads(read(folder, f"tokens/{model_type}/tokenizer.json")))
