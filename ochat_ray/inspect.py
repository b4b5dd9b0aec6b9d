"""What is in a saved page, a prepared folder or an exported model, for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ochat_ray.conversation import Conversation, Message
from ochat_ray.errors import DataError
from ochat_ray.exported import NAME as EXPORTED
from ochat_ray.exported import load_exported
from ochat_ray.manifest import read_manifest
from ochat_ray.model_types import ModelType
from ochat_ray.strict import parse
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer


def inspect(path: Path, *, number: int, rejected: str | None, tokens: bool) -> Iterator[str]:
    """Lines that show `path`: a page as the cleaning sees it, a prepared folder's counts and
    conversations, a model's origin. Raises DataError for anything else."""
    if path.is_file():
        yield from _page(path)
    elif (path / EXPORTED).exists():
        yield from _model(path)
    elif (path / "model" / EXPORTED).exists():
        yield from _model(path / "model")
    elif not path.exists():
        raise DataError(f"{path}: no such file or folder")
    else:
        yield from _prepared(path, number, rejected, tokens)


def funnel(counts: dict[str, Any]) -> str:
    """The counts of a prepared folder as a table: what came in, what went where and why."""
    rows: list[tuple[str, str]] = [("documents", f"{counts['documents']:,}")]
    rows += [(f"  rejected: {reason}", f"-{n:,}") for reason, n in sorted(counts["rejected"].items())]
    rows.append(("conversations kept", f"{counts['kept']:,}"))
    for name, tokens in counts["tokens"].items():
        rows.append((f"for {name}", ""))
        for split in ("train", "eval"):
            facts = tokens[split]
            rows.append((f"  {split} conversations", f"{facts['conversations']:,}"))
            rows.append((f"  {split} tokens", f"{facts['tokens']:,}"))
            rows.append((f"  {split} tokens with loss", f"{facts['target_tokens']:,}"))
        rows.append(("  lost to the context", f"{tokens['lost']['tokens']:,}"))
        rows.append(("  lost tokens with loss", f"{tokens['lost']['target_tokens']:,}"))
    return "\n".join(f"{name:28} {value:>12}".rstrip() for name, value in rows)


def _page(path: Path) -> Iterator[str]:
    from ochat_ray.data.clean import clean_page

    found = clean_page(path.read_bytes(), str(path))
    if not isinstance(found, Conversation):
        yield f"rejected: {found.reason} ({found.detail})"
    yield from _conversation(found.id, found.messages)


def _model(path: Path) -> Iterator[str]:
    exported = load_exported(path)
    shown = {key: value for key, value in exported.facts.items() if key != "recipe"}
    yield json.dumps(shown, indent=1, ensure_ascii=False)
    yield "template and tokenizer are those the model was trained with"


def _prepared(path: Path, number: int, rejected: str | None, tokens: bool) -> Iterator[str]:
    manifest = read_manifest(path, remedy="`ochat-ray prepare`")
    counts = manifest["counts"]
    if rejected is not None:
        yield from _rejected(path, counts["rejected"], number, rejected)
        return
    yield funnel(counts)
    if tokens:
        template = _template(manifest)
        for row in _first(_rows(path / "tokens" / "train"), number):
            yield f"\n{row['id']}: {len(row['input_ids'])} tokens"
            yield _marked(template, row["input_ids"], row["weights"])
    else:
        for row in _first(_rows(path / "conversations"), number):
            yield from _conversation(row["id"], [Message(**m) for m in row["messages"]])


def _rejected(path: Path, counts: dict[str, int], number: int, reason: str) -> Iterator[str]:
    if reason and reason not in counts:
        raise DataError(f"{path}: nothing was rejected for {reason!r}; reasons: {', '.join(sorted(counts))}")
    rows = (row for row in _rows(path / "rejected") if row["reason"] == reason or not reason)
    for row in _first(rows, number):
        yield f"\n{row['reason']}: {row['detail']} ({row['source']})"
        yield from _conversation(row["id"], [Message(**m) for m in row["messages"] or ()])
    more = (counts[reason] if reason else sum(counts.values())) - number
    if more > 0:
        yield f"\n{more:,} more; -n N shows N"


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for file in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(64):
            yield from batch.to_pylist()


def _first(rows: Iterator[dict[str, Any]], number: int) -> Iterator[dict[str, Any]]:
    for _, row in zip(range(number), rows, strict=False):
        yield row


def _conversation(name: str, messages: Sequence[Message]) -> Iterator[str]:
    yield f"\n{name}"
    for message in messages:
        yield f"[{message.role}]\n{message.content}"


def _template(manifest: dict[str, Any]) -> ChatTemplate:
    model_type = parse(ModelType, manifest["model_type"], "manifest.json")
    return ChatTemplate(model_type, ChatTokenizer.load(manifest["base"]))


def _marked(template: ChatTemplate, ids: Sequence[int], weights: Sequence[float]) -> str:
    """Tokens one after the other, divided by `|`; those with loss stand in brackets."""
    special = {i: token for token, i in template.tokenizer.special_ids.items()}
    parts = []
    for i, weight in zip(ids, weights, strict=True):
        text = special.get(i) or template.tokenizer.decode([i])
        parts.append(f"[{text}]" if weight else text)
    return "|".join(parts)
