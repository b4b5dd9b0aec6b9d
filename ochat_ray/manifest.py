"""Finished folders say so: a manifest of counts, origins and the sha256 of every file, written last.

A folder without its manifest is unfinished. Files appear whole or not at all (written aside, renamed).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ochat_ray.errors import DataError

NAME = "manifest.json"
# What decides results; the rest of the environment is in the constraints file.
PACKAGES = (
    "ochat-ray",
    "ray",
    "torch",
    "transformers",
    "tokenizers",
    "pyarrow",
    "lxml",
    "markdownify",
    "orjson",
    "deepspeed",
)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` in one step if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """What a killed `writing(path)` left beside it; for whoever alone may write there."""
    return sorted(path.parent.glob(f".{path.name}.*"))


def lock_file(path: Path) -> IO[str] | None:
    """The file opened and locked until it is closed or the process ends; None if another process has it.

    Raises OSError where it cannot be written.
    """
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    return file


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read, atomically."""
    with writing(path) as aside:
        aside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results, where installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """sha256 of a JSON value, independent of the order of keys, hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_manifest(folder: Path, files: Sequence[Path], facts: dict[str, Any]) -> dict[str, Any]:
    """Close a folder: `facts`, versions, and sha256 and size of each of `files` (inside `folder`)."""
    listing = {
        str(path.relative_to(folder)): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in sorted(files)
    }
    manifest = {**facts, "versions": versions(), "files": listing}
    write_json(folder / NAME, manifest)
    return manifest


def read_manifest(folder: Path, *, remedy: str) -> dict[str, Any]:
    """The manifest of a finished folder, whose files are all there with the sizes it names.

    Raises DataError naming folder, cause and `remedy` (the command that makes the folder).
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; make it with {remedy}")
    path = folder / NAME
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"].items()
    except FileNotFoundError:
        raise DataError(
            f"{folder}: no {NAME}, so it was never finished; run {remedy} again (finished parts are kept)"
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a manifest ({error!r}); delete it and run {remedy} again") from error
    for name, facts in files:
        file = folder / name
        size = file.stat().st_size if file.exists() else None
        if size != facts["bytes"]:
            found = "is missing" if size is None else f"has {size:,} bytes, not {facts['bytes']:,}"
            raise DataError(f"{file}: {found}; run {remedy} again")
    return manifest


def manifest_hash(manifest: dict[str, Any]) -> str:
    """sha256 of what the folder holds: its files' hashes, not when or with what it was made, hex."""
    return digest({name: facts["sha256"] for name, facts in manifest["files"].items()})
