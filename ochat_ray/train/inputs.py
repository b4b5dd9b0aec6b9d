"""What workers read: token files and the plan, made once before they start."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ochat_ray import columns
from ochat_ray.config import TrainConfig
from ochat_ray.errors import CheckpointError, DataError
from ochat_ray.manifest import write_json
from ochat_ray.positions import position_limit
from ochat_ray.storage import LocalStorage, Storage, read
from ochat_ray.train.flops import Size
from ochat_ray.train.folders import Folders
from ochat_ray.train.packing import make_plan
from ochat_ray.train.prepared import Prepared
from ochat_ray.train.tokens import Tokens

FILES, PLAN = "files.json", "plan.npz"


def make_inputs(prepared: Prepared, base: Path, folders: Folders, config: TrainConfig) -> None:
    """Write plans, and which files they are over, to `folders.tokens`, whole or not at all; the plans of an
    earlier start stay. Token files stay where they are, unless that is an object store.

    Raises DataError where there is nothing to train on or a conversation fits no bin, CheckpointError
    where the base model is too small for the data.
    """
    data = prepared.data
    if folders.tokens.exists():
        if isinstance(data, LocalStorage):  # which may lie elsewhere by now
            for split in columns.SPLITS:
                files = [str(data.root / name) for name in prepared.files(split)]
                write_json(folders.tokens / split / FILES, files)
        return
    aside = folders.tokens.with_name(".tokens")
    shutil.rmtree(aside, ignore_errors=True)
    attention_cost = Size.of(base).attention_cost
    for split in columns.SPLITS:
        tokens = Tokens.load(_local(data, prepared.files(split), aside, folders.tokens, split))
        if not len(tokens):
            continue
        _check_lengths(tokens, prepared, base, config)
        plan = make_plan(
            tokens.lengths_N,
            max_tokens=config.max_tokens,
            bins_per_step=config.bins_per_step,
            epochs=config.epochs if split == "train" else 1,
            seed=config.seed,
            attention_cost=attention_cost,
        )
        plan.save(aside / split / PLAN)
    if not has_rows(aside / "train"):
        raise DataError(
            f"{data.location}: no training rows; prepare more conversations, "
            "or loosen the recipe's data filters"
        )
    aside.rename(folders.tokens)


def _local(data: Storage, names: Sequence[str], aside: Path, tokens: Path, split: str) -> list[Path]:
    """Token files on a file system, fetched from an object store to `aside`; noted as in `tokens`."""
    folder = aside / split
    folder.mkdir(parents=True)
    if isinstance(data, LocalStorage):
        found = noted = [data.root / name for name in names]
    else:
        found = [folder / Path(name).name for name in names]
        noted = [tokens / split / path.name for path in found]
        for name, path in zip(names, found, strict=True):
            path.write_bytes(read(data, name))
    write_json(folder / FILES, [str(path) for path in noted])
    return found


def input_files(folder: Path) -> list[Path]:
    """The token files of a split, by the folder that `make_inputs` wrote for it."""
    return [Path(name) for name in json.loads((folder / FILES).read_text(encoding="utf-8"))]


def has_rows(folder: Path) -> bool:
    """Whether a split has any rows, and so a plan."""
    return (folder / PLAN).exists()


def _check_lengths(tokens: Tokens, prepared: Prepared, base: Path, config: TrainConfig) -> None:
    template = prepared.template
    remedy = f"extend it with `ochat-ray base OUTPUT --from {base} model_type={template.model_type.name}`"
    longest = int(tokens.lengths_N.max())
    if longest > config.max_tokens:
        raise DataError(
            f"{prepared.data.location}: the longest conversation has {longest:,} tokens, more than "
            f"train.max_tokens = {config.max_tokens:,}; raise train.max_tokens, or lower data.max_tokens and "
            "prepare again"
        )
    shape = _read_config(base)
    positions = position_limit(shape)
    if positions is not None and longest > positions:
        raise CheckpointError(
            f"{base}/config.json: {positions:,} positions, but the longest conversation has "
            f"{longest:,} tokens; {remedy}, or lower data.max_tokens"
        )
    entries = template.tokenizer.vocab_size
    if entries > shape.get("vocab_size", entries):
        raise CheckpointError(
            f"{base}/config.json: vocab_size {shape['vocab_size']:,}, but its tokenizer has {entries:,} "
            f"entries; {remedy}"
        )


def _read_config(base: Path) -> dict[str, Any]:
    path = base / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); give a Hugging Face model folder, "
            "or make one with `ochat-ray base DIR`"
        ) from error
    return config
