"""Which run an output folder holds, so that it is resumed by the same inputs and by nothing else."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ochat_ray.config import Recipe
from ochat_ray.errors import CheckpointError
from ochat_ray.manifest import digest, file_sha256, manifest_hash, write_json
from ochat_ray.storage import leftovers, lock_file
from ochat_ray.template import ChatTemplate
from ochat_ray.train.folders import RUN, Folders

# Fields of `train` that change how a run is carried out but not what it computes.
FREE = {
    "num_workers",
    "min_workers",
    "use_gpu",
    "threads",
    "pool",
    "strategy",
    "deepspeed",
    "cpu_offload",
    "activation_checkpointing",
    "compile",
    "checkpoint",
    "export",
    "track",
    "max_failures",
}

REMEDY = "give another output folder, or delete this one to start over"
PROBES, PROBE_BYTES = 256, 2**16


def identify(recipe: Recipe, template: ChatTemplate, manifest: dict[str, Any], base: Path) -> dict[str, Any]:
    """Everything that decides a run's result, by name."""
    train = recipe.train.model_dump(mode="json", exclude=FREE)
    return {
        **{f"train.{name}": value for name, value in train.items()},
        "the chat template": template.hash,
        "the prepared data": manifest_hash(manifest),
        "the base model": _base_hash(base),
    }


@contextmanager
def claimed(folders: Folders, identity: dict[str, Any]) -> Iterator[None]:
    """The output as this run's, for this process alone while the block lasts.

    Raises CheckpointError if it is another run's, in use, holds other things or cannot be written to.
    """
    _check_ours(folders)
    try:
        folders.output.mkdir(parents=True, exist_ok=True)
        lock = lock_file(folders.lock)
    except OSError as error:
        raise CheckpointError(
            f"{folders.output}: cannot be written to ({error.strerror}); give another output folder"
        ) from error
    if lock is None:
        raise CheckpointError(
            f"{folders.output}: another `train` is at work in it; wait for it or end it, "
            "or give another output folder"
        )
    with lock:
        for path in (folders.identity, folders.losses, folders.speed, folders.page):
            for left in leftovers(path):
                left.unlink()
        if folders.identity.exists() and folders.attempts.exists():
            _compare(folders, identity)
        else:  # no worker has begun: what an earlier start meant to do binds nobody
            shutil.rmtree(folders.tokens, ignore_errors=True)
            # A name that no other run has, for what lies elsewhere.
            write_json(folders.identity, {RUN: secrets.token_hex(8), **identity})
        yield


def _check_ours(folders: Folders) -> None:
    ours = {folders.lock, *leftovers(folders.identity)}  # all that a kill before the first file leaves
    if not folders.output.exists() or folders.identity.exists():
        return
    if not folders.output.is_dir() or any(path not in ours for path in folders.output.iterdir()):
        raise CheckpointError(f"{folders.output}: not empty, and not a training output; {REMEDY}")


def _compare(folders: Folders, identity: dict[str, Any]) -> None:
    try:
        found = json.loads(folders.identity.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folders.identity}: cannot be read ({error}); {REMEDY}") from error
    for name in identity | found:
        if name != RUN and identity.get(name) != found.get(name):
            raise CheckpointError(
                f"{folders.output}: holds a run with another value of {name} "
                f"({_short(found.get(name))}, now {_short(identity.get(name))}); {REMEDY}"
            )


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else json.dumps(value)


def _base_hash(base: Path) -> str:
    small = [path for path in (base / "config.json", base / "tokenizer.json") if path.exists()]
    weights = [*base.glob("*.safetensors"), *base.glob("*.bin")]
    return digest(
        {path.name: file_sha256(path) for path in small} | {path.name: _probe(path) for path in weights}
    )


def _probe(path: Path) -> str:
    """Hash of a file's size and of 256 pieces spread evenly over it, up to 16 MiB in all, hex.

    Reading all of the weights takes minutes; training changes nearly every one, so the pieces tell models
    apart. A change of single weights goes unseen.
    """
    size = path.stat().st_size
    found = hashlib.sha256(str(size).encode())
    stride = max(size // PROBES, PROBE_BYTES)
    with path.open("rb") as file:
        for start in range(0, size, stride):
            file.seek(start)
            found.update(file.read(PROBE_BYTES))
    return found.hexdigest()
