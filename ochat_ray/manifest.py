"""Finished folders say so: a manifest of counts, origins and the sha256 of every file, written last.

A folder without its manifest is unfinished.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ochat_ray.errors import DataError
from ochat_ray.storage import Storage, read, storage, sweep, writing

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


def json_bytes(value: Any) -> bytes:
    """JSON for people to read."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read, atomically."""
    with writing(path) as aside:
        aside.write_bytes(json_bytes(value))


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of packages, where installed; by default of those that decide results."""
    found = {"python": platform.python_version()}
    for package in packages:
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


def file_facts(data: Any) -> dict[str, Any]:
    """What a manifest says of a file of these bytes."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": memoryview(data).nbytes}


def write_manifest(folder: Storage, files: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Close a folder: `facts`, versions, and `files` (path in the folder: its `file_facts`).

    Nobody may be writing into it any more: what killed writers left is removed.
    """
    sweep(folder)
    manifest = {**facts, "versions": versions(), "files": dict(sorted(files.items()))}
    folder.write(NAME, json_bytes(manifest))
    return manifest


def read_manifest(folder: Storage | Path, *, remedy: str) -> dict[str, Any]:
    """The manifest of a finished folder, whose files are all there with the sizes it names.

    Raises DataError naming folder, cause and `remedy` (the command that makes the folder).
    """
    if isinstance(folder, Path):
        folder = storage(folder)
    where = folder.location
    if not folder.exists(""):
        raise DataError(f"{where}: no such folder; make it with {remedy}")
    try:
        manifest: dict[str, Any] = json.loads(read(folder, NAME))
        files = manifest["files"].items()
    except FileNotFoundError:
        raise DataError(
            f"{where}: no {NAME}: not what {remedy} wrote, or it was never finished; run {remedy} again "
            "(finished parts are kept)"
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{where}/{NAME}: not a manifest ({error!r}); delete it and run {remedy} again"
        ) from error
    sizes = {entry.path: entry.size for entry in folder.entries()}
    for name, facts in files:
        size = sizes.get(name)
        if size != facts["bytes"]:
            found = "is missing" if size is None else f"has {size:,} bytes, not {facts['bytes']:,}"
            raise DataError(f"{where}/{name}: {found}; run {remedy} again")
    return manifest


def manifest_hash(manifest: dict[str, Any]) -> str:
    """sha256 of what the folder holds: its files' hashes, not when or with what it was made, hex."""
    return digest({name: facts["sha256"] for name, facts in manifest["files"].items()})
