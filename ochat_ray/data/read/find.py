"""What the user names as input (folders, files, globs, URIs) to the files to read, in one order."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ochat_ray import manifest
from ochat_ray.data.read.documents import hidden, shown
from ochat_ray.data.read.formats import KINDS, Format, Kind, by_content, by_name
from ochat_ray.data.read.units import InputFile
from ochat_ray.errors import DataError
from ochat_ray.storage import Entry, Storage, is_remote, read, storage

FOLDER = "ShareGPT"
MAGIC = re.compile(r"[*?[]")
HEAD = 512
# Files by which folders of our own and of models are known: nobody means their JSON as chats.
MODELS = ("tokenizer.json", "ochat.json")


@dataclass(frozen=True)
class Inputs:
    """The files to read below `folder`, sorted by path, and those in no known format, which are not read."""

    folder: Storage
    files: list[InputFile]
    left_out: list[str]


def find_inputs(
    inputs: Sequence[str], kind: Kind | None = None, leave_out: Sequence[str | Path] = ()
) -> Inputs:
    """All files that the inputs name, at any depth, but not those in the folders `leave_out`.

    A folder that holds one named ShareGPT stands for that. With `kind` every file is taken for one of that
    kind. Raises DataError where an input does not exist, cannot be read, or there is nothing to read.
    """
    skipped = frozenset(str(path) if is_remote(path) else str(Path(path).absolute()) for path in leave_out)
    _refuse_several_places(inputs)
    places = [_place(text) for text in inputs]
    root = _common([place for place, _ in places])
    entries: dict[str, Entry] = {}
    for place, pattern in places:
        for entry in _matching(place, pattern, skipped):
            path = posixpath.relpath(posixpath.join(place, entry.path), root)
            entries[path] = entry._replace(path=path)
    folder = storage(root)
    files, left_out = _known(folder, [entries[path] for path in sorted(entries)], kind)
    if not files:
        others = f" ({len(left_out):,} of other kinds, such as {shown(left_out[0])})" if left_out else ""
        raise DataError(
            f"{', '.join(inputs)}: no files to read{others}; give saved pages (.html), .json, .jsonl, "
            f".parquet, archives (.tar, .zip), or say what they are with --format {{{','.join(KINDS)}}}"
        )
    return Inputs(folder, files, left_out)


def _place(text: str) -> tuple[str, re.Pattern[str] | None]:
    """The folder that an input begins with, and the pattern of the files below it; None for all."""
    if is_remote(text):
        place = text.rstrip("/")
        exists = not MAGIC.search(text)
    else:
        place = str(Path(text).absolute())
        exists = Path(text).exists()
    if not exists and MAGIC.search(place):
        parts = place.split("/")
        fixed = next(number for number, part in enumerate(parts) if MAGIC.search(part))
        return "/".join(parts[:fixed]) or "/", re.compile(_translate("/".join(parts[fixed:])))
    if is_remote(text):
        return _remote_place(place)
    if not exists:
        raise DataError(f"{text}: no such file or folder; give the saved pages, exports or archives")
    if Path(place).is_file():
        parent, _, name = place.rpartition("/")
        return parent or "/", re.compile(re.escape(name))
    inner = Path(place) / FOLDER
    return (str(inner) if inner.is_dir() else place), None


def _remote_place(place: str) -> tuple[str, re.Pattern[str] | None]:
    parent, _, name = place.rpartition("/")
    if PurePosixPath(name).suffix and by_name(name):
        return parent, re.compile(re.escape(name))
    if storage(f"{place}/{FOLDER}").entries():
        return f"{place}/{FOLDER}", None
    return place, None


def _translate(pattern: str) -> str:
    """A glob as a regular expression over paths; what matches a folder means all that is in it."""
    out = ""
    for token in re.findall(r"\*\*/|\*|\?|\[[^]]+\]|.", pattern, re.DOTALL):
        special = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
        if token in special:
            out += special[token]
        elif len(token) > 1:
            out += "[^" + token[2:] if token[1] == "!" else token
        else:
            out += re.escape(token)
    return rf"{out}(?:/.*)?"


def _refuse_several_places(inputs: Sequence[str]) -> None:
    """Files that are read together lie on one file system, or in one bucket."""
    places = {"/".join(text.split("/")[:3]) if is_remote(text) else "" for text in inputs}
    if len(places) > 1:
        raise DataError(
            f"{', '.join(inputs)}: inputs in several places; copy them into one, or prepare each by itself"
        )


def _common(folders: list[str]) -> str:
    """The deepest folder that all folders are in."""
    if is_remote(folders[0]):
        scheme = folders[0].partition("://")[0]
        return f"{scheme}://{posixpath.commonpath([f.partition('://')[2] for f in folders])}"
    return os.path.commonpath(folders)


def _matching(folder: str, pattern: re.Pattern[str] | None, skipped: frozenset[str]) -> list[Entry]:
    entries = storage(folder).entries(leave_out=skipped)
    if pattern is None:
        return [entry for entry in entries if not hidden(entry.path)]
    return [entry for entry in entries if pattern.fullmatch(entry.path)]


def _known(folder: Storage, entries: list[Entry], kind: Kind | None) -> tuple[list[InputFile], list[str]]:
    ours = _not_chats(folder, entries)
    files, left_out = [], []
    for entry in entries:
        format = by_name(entry.path, kind)
        if format is None and not PurePosixPath(entry.path).suffix:
            format = _sniffed(folder, entry.path)
        if format is None or entry.path.startswith(ours) or _is_manifest(entry.path):
            left_out.append(entry.path)
        else:
            files.append(InputFile(*entry, format))
    return files, left_out


def _is_manifest(path: str) -> bool:
    return PurePosixPath(path).name == manifest.NAME


def _not_chats(folder: Storage, entries: list[Entry]) -> tuple[str, ...]:
    """Folders below the input that hold models, or what `prepare` wrote, as prefixes of paths."""
    found = []
    for entry in entries:
        parent, _, name = entry.path.rpartition("/")
        if parent and (name in MODELS or (name == manifest.NAME and _is_prepared(folder, entry.path))):
            found.append(f"{parent}/")
    return tuple(found)


def _is_prepared(folder: Storage, path: str) -> bool:
    try:
        return bool(json.loads(read(folder, path)).get("kind") == "prepared")
    except (OSError, ValueError, AttributeError):
        return False


def _sniffed(folder: Storage, path: str) -> Format | None:
    """The format of a file whose name says nothing, such as a page saved under its id."""
    try:
        with folder.open(path) as file:
            return by_content(file.read(HEAD))
    except OSError:
        return None
