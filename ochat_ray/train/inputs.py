"""What workers read: token arrays and the plan, made once before they start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ochat_ray.config import TrainConfig
from ochat_ray.errors import CheckpointError, DataError
from ochat_ray.positions import position_limit
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.folders import Folders
from ochat_ray.train.packing import make_plan
from ochat_ray.train.tokens import Tokens, copy_tokens, token_files


def make_inputs(data: Path, base: Path, folders: Folders, config: TrainConfig) -> None:
    """Write `folders.tokens`, whole or not at all; does nothing where an earlier start did.

    Raises DataError where there is nothing to train on or a conversation fits no bin, CheckpointError
    where the base model is too small for the data.
    """
    if folders.tokens.exists():
        return
    aside = folders.tokens.with_name(".tokens")
    shutil.rmtree(aside, ignore_errors=True)
    if not copy_tokens(token_files(data, "train"), aside / "train"):
        raise DataError(
            f"{data}: no training rows; prepare more conversations, or loosen the recipe's data filters"
        )
    held_out = copy_tokens(token_files(data, "eval"), aside / "eval")
    if not held_out:
        shutil.rmtree(aside / "eval")
    for split in sorted(aside.iterdir()):
        tokens = Tokens.load(split)
        _check_lengths(tokens, data, base, config)
        plan = make_plan(
            tokens.lengths_N,
            max_tokens=config.max_tokens,
            bins_per_step=config.bins_per_step,
            epochs=config.epochs if split.name == "train" else 1,
            seed=config.seed,
        )
        plan.save(split / "plan.npz")
    aside.rename(folders.tokens)


def _check_lengths(tokens: Tokens, data: Path, base: Path, config: TrainConfig) -> None:
    longest = int(tokens.lengths_N.max())
    if longest > config.max_tokens:
        raise DataError(
            f"{data}: the longest conversation has {longest:,} tokens, more than train.max_tokens = "
            f"{config.max_tokens:,}; raise train.max_tokens, or lower data.max_tokens and prepare again"
        )
    shape = _read_config(base)
    positions = position_limit(shape)
    if positions is not None and longest > positions:
        raise CheckpointError(
            f"{base}/config.json: {positions:,} positions, but the longest conversation has "
            f"{longest:,} tokens; "
            "extend it with `ochat-ray base OUTPUT --from MODEL_DIR`, or lower data.max_tokens"
        )
    entries = ChatTokenizer.load(base).vocab_size
    if entries > shape.get("vocab_size", entries):
        raise CheckpointError(
            f"{base}/config.json: vocab_size {shape['vocab_size']:,}, but its tokenizer has {entries:,} "
            "entries; extend it with `ochat-ray base OUTPUT --from MODEL_DIR`"
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
