"""What the user names as input (folders, files, globs, URIs) to the files to read, in one order."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ochat_ray import manifest
from ochat_ray.data.read.documents import hidden, shown
from ochat_ray.data.read.formats import KINDS, Format, Kind, by_content, by_name
from ochat_ray.data.read.units import InputFile
from ochat_ray.data.workspace import PLAN
from ochat_ray.errors import DataError
from ochat_ray.storage import Entry, Storage, is_remote, read, storage

FOLDER = "ShareGPT"
MAGIC = re.compile(r"[*?[]")
HEAD = 512
# Files by which folders of our own and of models are known: nobody means their JSON as chats.
MODELS = ("tokenizer.json", "ochat.json")


@dataclass(frozen=True)
class Inputs:
    """The files to read below `folder`, sorted by path, and those that are not read: in no known format, of
    models or outputs of ours, or beside a folder that stands for all.

    `named` are the folders, files and globs that were asked for, sorted.
    """

    folder: Storage
    files: list[InputFile]
    left_out: list[str]
    named: list[str]


def find_inputs(
    inputs: Sequence[str], kind: Kind | None = None, leave_out: Sequence[str | Path] = ()
) -> Inputs:
    """All files that the inputs name, at any depth, but not those in the folders `leave_out`.

    A folder that holds one named ShareGPT stands for that, and what else is in it is left out. With `kind`
    every file is taken for one of that kind. Raises DataError where an input does not exist, cannot be read
    or is not finished, or there is nothing to read.
    """
    skipped = frozenset(str(path) if is_remote(path) else str(Path(path).absolute()) for path in leave_out)
    _refuse_several_places(inputs)
    places = [_place(text) for text in inputs]
    root = _common([place.folder for place in places])
    entries: dict[str, Entry] = {}
    for place in places:
        for entry in _matching(place, skipped):
            path = posixpath.relpath(posixpath.join(place.folder, entry.path), root)
            entries[path] = entry._replace(path=path)
    folder = storage(root)
    files, left_out = _known(folder, [entries[path] for path in sorted(entries)], kind)
    read_too = {posixpath.join(root, path) for path in entries}
    beside = [path for place in places for path in _beside(place, kind, skipped)]
    left_out += [path for path in beside if path not in read_too]
    if not files:
        others = f" ({len(left_out):,} of other kinds, such as {shown(left_out[0])})" if left_out else ""
        raise DataError(
            f"{', '.join(inputs)}: no files to read{others}; give saved pages (.html), .json, .jsonl, "
            f".parquet, archives (.tar, .zip), or say what they are with --format {{{','.join(KINDS)}}}"
        )
    named = {
        place.folder if place.wanted is _visible else text for text, place in zip(inputs, places, strict=True)
    }
    return Inputs(folder, files, left_out, sorted(named))


class _Place(NamedTuple):
    """A folder and which of the files below it are meant; `around` is the folder that was named, where it is
    another one."""

    folder: str
    wanted: Callable[[str], bool]
    around: str | None = None


def _visible(path: str) -> bool:
    return not hidden(path)


def _place(text: str) -> _Place:
    if is_remote(text):
        place = text.rstrip("/")
        exists = not MAGIC.search(text)
    else:
        place = str(Path(text).absolute())
        exists = Path(text).exists()
    if not exists and MAGIC.search(place):
        parts = place.split("/")
        fixed = next(number for number, part in enumerate(parts) if MAGIC.search(part))
        pattern = re.compile(_translate("/".join(parts[fixed:])))
        return _Place(
            "/".join(parts[:fixed]) or "/", lambda path: _visible(path) and bool(pattern.fullmatch(path))
        )
    parent, _, name = place.rpartition("/")
    inner = f"{place}/{FOLDER}"
    if is_remote(text):
        is_file = bool(PurePosixPath(name).suffix and by_name(name))
        has_inner = not is_file and bool(storage(inner).entries())
    elif not exists:
        raise DataError(f"{text}: no such file or folder; give the saved pages, exports or archives")
    elif not (Path(place).is_file() or Path(place).is_dir()):
        raise DataError(f"{text}: is a pipe or a device; save what it gives as a file")
    else:
        is_file, has_inner = Path(place).is_file(), Path(inner).is_dir()
    if is_file:
        return _Place(parent or "/", lambda path: path == name)
    return _Place(inner, _visible, around=place) if has_inner else _Place(place, _visible)


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


def _matching(place: _Place, skipped: frozenset[str]) -> list[Entry]:
    entries = storage(place.folder).entries(leave_out=skipped)
    wanted = [entry for entry in entries if place.wanted(entry.path)]
    for plan in (path for entry in entries if (path := f"/{entry.path}").endswith(f"/{PLAN}")):
        unfinished = plan.removesuffix(PLAN)
        if any(f"/{entry.path}".startswith(unfinished) for entry in wanted):
            where = f"{place.folder}{unfinished}".rstrip("/")
            raise DataError(f"{where}: not finished; run what fills it again, or name the files to read")
    return wanted


def _beside(place: _Place, kind: Kind | None, skipped: frozenset[str]) -> list[str]:
    """What could be read in a folder for which the one in it named ShareGPT stands."""
    if place.around is None:
        return []
    folder = storage(place.around)
    entries = [entry for entry in folder.entries(leave_out=skipped | {place.folder}) if _visible(entry.path)]
    return [posixpath.join(place.around, file.path) for file in _known(folder, entries, kind)[0]]


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
