"""Where an existing model comes from: a local folder, an object store, or the model hub."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ochat_ray.errors import CheckpointError, one_line
from ochat_ray.storage import LocalStorage, Storage, is_remote, read, storage

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
CONFIG, GENERATION = "config.json", "generation_config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
# By these names transformers finds weights, the first that is there; an index says which file holds what.
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
# Terms that ask to be handed on with what is made of a model (Llama's, Gemma's, Apache's NOTICE).
TERMS = re.compile(r"(LICENSE|NOTICE|USE_POLICY)(\.\w+)?")
COPY_BYTES = 2**24


@dataclass(frozen=True)
class Weights:
    """The files of a model's weights, and its index, where it has one."""

    files: tuple[str, ...]
    index: dict[str, Any] | None
    pickled: bool


@dataclass(frozen=True)
class Source:
    """An existing model, by the name that it was given by."""

    name: str
    folder: Storage

    def files(self) -> list[str]:
        """Names of the files in the folder itself. Raises DataError or OSError where it cannot be listed."""
        if isinstance(self.folder, LocalStorage):
            return [path.name for path in self.folder.root.iterdir()]
        return [entry.path for entry in self.folder.entries() if "/" not in entry.path]

    def get(self, file: str, staging: Path) -> Path:
        """A file on this machine: where it is, or, out of an object store, a copy in `staging`."""
        if isinstance(self.folder, LocalStorage):
            return self.folder.root / file
        self.copy(file, staging / file)
        return staging / file

    def copy(self, file: str, target: Path) -> None:
        """Copy a file. Raises CheckpointError where it cannot be read, OSError where not written."""
        try:
            with target.open("wb") as copy:
                for chunk in self._chunks(file):
                    copy.write(chunk)
        except OSError as error:  # a full disk's error does not say of which file
            raise OSError(error.errno, error.strerror, str(target)) from error

    def _chunks(self, file: str) -> Iterator[bytes]:
        try:
            with self.folder.open(file) as original:
                while chunk := original.read(COPY_BYTES):
                    yield chunk
        except OSError as error:
            raise CheckpointError(f"{self.name}/{file}: cannot be read ({one_line(error)})") from error

    def weights(self, files: list[str], *, allow_pickle: bool) -> Weights:
        """Which files hold the weights: safetensors, or pickles if there are only those and they may be read.

        Raises CheckpointError where there are none, or the index does not fit the files.
        """
        found = next((name for name in (*SAFETENSORS, *PICKLES) if name in files), None)
        if found is None:
            raise CheckpointError(
                f"{self.name}: no weights ({', '.join((*SAFETENSORS, *PICKLES))}); "
                "give a complete Hugging Face model folder"
            )
        pickled = found in PICKLES
        if pickled and not allow_pickle:
            raise CheckpointError(
                f"{self.name}/{found}: weights are Python pickles, not safetensors; take a copy of the model "
                "in safetensors, or read nothing but tensors out of them with --allow-pickle"
            )
        if not found.endswith(".index.json"):
            return Weights((found,), None, pickled)
        index = self._index(found)
        names = tuple(sorted(set(index["weight_map"].values())))
        for name in names:
            if name not in files:  # also of paths that lead elsewhere
                raise CheckpointError(
                    f"{self.name}/{found}: names {name!r}, which is not there; get the model again, whole"
                )
        return Weights(names, index, pickled)

    def _index(self, name: str) -> dict[str, Any]:
        try:
            index: dict[str, Any] = json.loads(read(self.folder, name))
            if not index["weight_map"] or not all(isinstance(f, str) for f in index["weight_map"].values()):
                raise ValueError("weight_map names no files")
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.name}/{name}: not an index of weights ({one_line(error)}); get it again"
            ) from error
        return index

    @contextmanager
    def copied(self, staging: Path) -> Iterator[Path]:
        """A folder for copies while the block lasts; errors that name a copy there name the original."""
        staging.mkdir()
        try:
            yield staging
        except CheckpointError as error:
            raise CheckpointError(str(error).replace(str(staging), self.name)) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def open_source(location: str, *, allow_pickle: bool, trust_remote_code: bool) -> Source:
    """The model at a path, an s3:// or gs:// URI, or of a name on the model hub (OWNER/NAME[@REVISION]).

    A path goes before a name. From the hub only what is needed is downloaded, to the hub's own cache.
    Raises CheckpointError where there is none.
    """
    if is_remote(location):
        return Source(location.rstrip("/"), storage(location))
    path = Path(location)
    if path.is_dir():
        return Source(location, LocalStorage(path.absolute()))
    if path.exists() or not HUB_NAME.fullmatch(location):
        raise CheckpointError(
            f"{location}: no such folder; give a Hugging Face model folder, an s3:// or gs:// URI of one, or "
            "a name on the model hub (OWNER/NAME)"
        )
    from ochat_ray.train.base.hub import download

    folder = download(location, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    return Source(location, LocalStorage(folder))
