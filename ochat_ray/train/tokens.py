"""Token files mapped into memory, of which every worker reads only the rows it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ochat_ray import columns
from ochat_ray.errors import DataError
from ochat_ray.model_types import ModelType
from ochat_ray.storage import Storage
from ochat_ray.template import ChatTemplate

NO_CLASS = "none"


@dataclass(frozen=True)
class Shard:
    """The rows of one file end to end: row i is at `offsets[i]:offsets[i + 1]`."""

    input_ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    offsets: NDArray[np.int32]
    ids: pa.StringArray
    kinds: pa.StringArray


@dataclass(frozen=True)
class Classes:
    """The classes of rows (data.classes): `names[numbers_N[i]]`; "none" for rows of no class."""

    names: list[str]
    numbers_N: NDArray[np.int64]


class Tokens:
    """N rows over all files, in their order."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = [shard for shard in shards if len(shard.offsets) > 1]
        self.starts = np.cumsum([0, *(len(shard.offsets) - 1 for shard in self.shards)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def lengths_N(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self._over_shards(lambda shard: np.diff(shard.offsets))

    @cached_property
    def target_weights_N(self) -> NDArray[np.float64]:
        """Loss weight of each row: the sum over its tokens but the first, which nothing predicts."""
        return self._over_shards(_target_weights).astype(np.float64)

    @cached_property
    def targets_N(self) -> NDArray[np.int64]:
        """Tokens of each row that carry loss."""
        return self._over_shards(_targets)

    @cached_property
    def classes(self) -> Classes:
        """The class of each row; names are in alphabetical order."""
        kinds = pa.chunked_array([shard.kinds for shard in self.shards], pa.string())
        coded = kinds.fill_null(NO_CLASS).combine_chunks().dictionary_encode()
        names = coded.dictionary.to_pylist()
        order = np.argsort(names)
        numbers = np.argsort(order)[coded.indices.to_numpy()]
        return Classes([names[index] for index in order], numbers)

    def id(self, index: int) -> str:
        """The id of a row's conversation."""
        shard, row = self._find(index)
        found: str = shard.ids[row].as_py()
        return found

    def row(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Token ids and weights of a row."""
        shard, row = self._find(index)
        start, end = shard.offsets[row : row + 2]
        return shard.input_ids[start:end], shard.weights[start:end]

    def _find(self, index: int) -> tuple[Shard, int]:
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.shards[number], index - int(self.starts[number])

    def _over_shards(self, values: Callable[[Shard], NDArray[Any]]) -> NDArray[Any]:
        found = [values(shard) for shard in self.shards]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    @classmethod
    def load(cls, files: Iterable[Path]) -> Tokens:
        """Map files as `prepare` writes them. Raises DataError for one that holds anything else."""
        return cls([_load(path) for path in files])


def token_files(data: Storage, manifest: dict[str, Any], model_type: ModelType, split: str) -> list[str]:
    """The token files of a split for a model type, below `data`, in order: those that its manifest names.

    Raises DataError, naming what there is, where the data was not prepared for the model type.
    """
    names = [name for name in manifest["files"] if name.startswith("tokens/")]
    prepared = sorted({name.split("/")[1] for name in names})
    if model_type.name not in prepared:
        raise DataError(
            f"{data.location}: prepared for {', '.join(prepared) or 'no model type'}, "
            f"not for {model_type.name}; prepare it with `--base {model_type.name}=DIR`, or train "
            "with another recipe"
        )
    return [name for name in names if name.startswith(f"tokens/{model_type.name}/{split}/")]


def check_origin(data: Storage, files: Iterable[str], template: ChatTemplate, base: Path) -> None:
    """Raises DataError naming both sides where a file was not tokenised by `template`, the base's own."""
    expected = {
        "chat template": (columns.META_TEMPLATE_HASH, template.hash),
        "tokenizer": (columns.META_TOKENIZER_HASH, template.tokenizer.hash),
    }
    for name in files:
        with data.open(name) as file:
            metadata = pa.ipc.open_file(file).schema.metadata or {}
        for what, (key, ours) in expected.items():
            theirs = metadata.get(key, b"none").decode()
            if theirs != ours:
                kind = metadata.get(columns.META_MODEL_TYPE, b"unknown").decode()
                raise DataError(
                    f"{data.location}/{name}: made with {what} {theirs[:12]} (model type {kind}), but the "
                    f"base model {base} with model type {template.model_type.name} has {ours[:12]}; prepare "
                    "the data again with this base model and recipe, or give the one it was prepared with"
                )


def _load(path: Path) -> Shard:
    with pa.memory_map(str(path)) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    lists = {name: batch.column(name) for name in ("input_ids", "weights")}
    offsets = {name: column.offsets.to_numpy() for name, column in lists.items()}
    if not np.array_equal(*offsets.values()) or not np.diff(offsets["input_ids"]).all():
        raise DataError(f"{path}: a row has no tokens, or another number of weights; prepare the data again")
    values = {name: column.values.to_numpy() for name, column in lists.items()}
    return Shard(**values, offsets=offsets["input_ids"], ids=batch.column("id"), kinds=batch.column("class"))


def _target_weights(shard: Shard) -> NDArray[np.float64]:
    first = shard.offsets[:-1]
    return np.add.reduceat(shard.weights, first, dtype=np.float64) - shard.weights[first]


def _targets(shard: Shard) -> NDArray[np.int64]:
    first = shard.offsets[:-1]
    carries = (shard.weights > 0).astype(np.int64)
    return np.add.reduceat(carries, first) - carries[first]
