"""Token files as flat arrays on disk, which every worker maps into memory and reads by index."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ochat_ray import columns
from ochat_ray.errors import DataError
from ochat_ray.template import ChatTemplate

BATCH_ROWS = 4096


@dataclass(frozen=True)
class Tokens:
    """N conversations end to end: conversation i is at `offsets[i]:offsets[i + 1]`."""

    input_ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths_N(self) -> NDArray[np.int64]:
        """Tokens of each conversation."""
        return np.diff(self.offsets)

    @cached_property
    def target_weights_N(self) -> NDArray[np.float64]:
        """Loss weight of each conversation: the sum over its tokens but the first, which nothing predicts."""
        total = np.add.reduceat(self.weights, self.offsets[:-1], dtype=np.float64)
        return total - self.weights[self.offsets[:-1]]

    @property
    def targets(self) -> int:
        """Tokens that carry loss."""
        return int(np.count_nonzero(self.weights) - np.count_nonzero(self.weights[self.offsets[:-1]]))

    @classmethod
    def load(cls, folder: Path) -> Tokens:
        """Map what `copy_tokens` wrote."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _NAMES))


_NAMES = ("input_ids", "weights", "offsets")


def token_files(data: Path, split: str) -> list[Path]:
    """The token files of a split, in order."""
    return sorted((data / "tokens" / split).glob("*.parquet"))


def check_origin(files: Iterable[Path], template: ChatTemplate, base: Path) -> None:
    """Raises DataError naming both sides where a file was not tokenised by `template`, the base's own."""
    expected = {
        "chat template": (columns.META_TEMPLATE_HASH, template.hash),
        "tokenizer": (columns.META_TOKENIZER_HASH, template.tokenizer.hash),
    }
    for path in files:
        metadata = pq.read_schema(path).metadata or {}
        for what, (key, ours) in expected.items():
            theirs = metadata.get(key, b"none").decode()
            if theirs != ours:
                kind = metadata.get(columns.META_MODEL_TYPE, b"unknown").decode()
                raise DataError(
                    f"{path}: made with {what} {theirs[:12]} (model type {kind}), but the base model {base} "
                    f"with model type {template.model_type.name} has {ours[:12]}; prepare the data again "
                    "with this base model and recipe, or give the base model it was prepared with"
                )


def copy_tokens(files: Iterable[Path], folder: Path) -> int:
    """Write the rows of token files as arrays into `folder`; returns their number. Raises DataError."""
    folder.mkdir(parents=True)
    lengths: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    with (folder / "input_ids").open("wb") as ids, (folder / "weights").open("wb") as weights:
        for path in files:
            for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=["input_ids", "weights"]):
                lists = {name: batch.column(name) for name in ("input_ids", "weights")}
                sizes = [np.diff(column.offsets.to_numpy()) for column in lists.values()]
                if not np.array_equal(*sizes) or not sizes[0].all():
                    raise DataError(
                        f"{path}: a row has no tokens, or another number of weights; prepare the data again"
                    )
                ids.write(lists["input_ids"].flatten().to_numpy().tobytes())
                weights.write(lists["weights"].flatten().to_numpy().tobytes())
                lengths.append(sizes[0].astype(np.int64))
    offsets = np.concatenate(lengths).cumsum()
    np.save(folder / "offsets.npy", offsets)
    if len(offsets) > 1:
        for name, kind in (("input_ids", np.int32), ("weights", np.float32)):
            np.save(folder / f"{name}.npy", np.memmap(folder / name, kind, "r"))
    for name in ("input_ids", "weights"):
        (folder / name).unlink()
    return len(offsets) - 1
