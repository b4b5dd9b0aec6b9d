"""One checkpoint as a folder of files, closed by `checkpoint.json`.

__0_0.distcp, ...   what each worker wrote (torch's distributed checkpoint format)
.metadata           which part of which tensor is where
checkpoint.json     last: the cursor, and size and sha256 of each file; without it there is no checkpoint
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import mmap
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ochat_ray.manifest import json_bytes
from ochat_ray.storage import Storage, read

NAME = "checkpoint.json"
METADATA = ".metadata"
COPY_BYTES = 2**24
FOLDER = re.compile(r"step-\d{8,}")

Files = dict[str, dict[str, int | str]]


@dataclass(frozen=True)
class Cursor:
    """Where a run stands: `step` steps of the plan with this hash are done, `updates` of them with an
    update of the weights, computed in `dtype`. `eval_loss`: on held-out conversations at this step, if there
    was one."""

    step: int
    epoch: int
    updates: int
    plan_hash: str
    dtype: str
    eval_loss: float | None = None

    @property
    def name(self) -> str:
        """The folder's name; names sort as steps do."""
        return f"step-{self.step:08}"


def written_by(folder: Path, rank: int) -> list[Path]:
    """The files that a worker wrote."""
    return [*sorted(folder.glob(f"__{rank}_*")), *([folder / METADATA] if rank == 0 else [])]


def facts(path: Path) -> dict[str, int | str]:
    """Size and sha256 of a file."""
    with _mapped(path) as data:
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def close(storage: Storage, cursor: Cursor, files: Files) -> None:
    """Make a checkpoint of files that are all there."""
    storage.write(f"{cursor.name}/{NAME}", json_bytes({"cursor": asdict(cursor), "files": files}))


def opened(storage: Storage, name: str) -> tuple[Cursor, Files]:
    """What a checkpoint says of itself. Raises OSError or ValueError where there is none."""
    found = json.loads(read(storage, f"{name}/{NAME}"))
    try:
        return Cursor(**found["cursor"]), found["files"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{NAME} lacks {error}") from error


def send(path: Path, storage: Storage, name: str) -> None:
    """Write a file to an object store without reading all of it into memory."""
    with _mapped(path) as data:
        storage.write(name, data)


def fetch(storage: Storage, name: str, path: Path) -> None:
    """Copy a file from an object store; where it cannot be read, `damage` will say what is missing."""
    with contextlib.suppress(OSError), storage.open(name) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, COPY_BYTES)


def damage(folder: Path, name: str, expected: dict[str, int | str]) -> str | None:
    """What is wrong with a file, or None."""
    path = folder / name
    if not path.exists():
        return f"{name} is missing"
    size = path.stat().st_size
    if size != expected["bytes"]:
        return f"{name} has {size:,} bytes, not {expected['bytes']:,}"
    return None if facts(path) == expected else f"{name} has other bytes than were written"


def names(storage: Storage) -> list[str]:
    """Folders of checkpoints, whole or not, the newest first. What else is there is somebody's own."""
    found = {entry.path.split("/")[0] for entry in storage.entries()}
    return sorted(filter(FOLDER.fullmatch, found), reverse=True)


def prune(storage: Storage, keep: int) -> None:
    """Remove all but the newest `keep` whole checkpoints and the one of the lowest held-out loss."""
    found, whole = names(storage), {}
    for name in found:
        try:
            whole[name] = opened(storage, name)[0].eval_loss
        except (OSError, ValueError):
            continue
    judged = {name: loss for name, loss in whole.items() if loss is not None and math.isfinite(loss)}
    best = [min(judged, key=lambda name: judged[name])] if judged else []
    for name in found:
        if name not in [*whole][:keep] + best:
            storage.remove(name)


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[bytes | mmap.mmap]:
    """A file's bytes, mapped into memory."""
    if not path.stat().st_size:  # which cannot be mapped
        yield b""
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data
