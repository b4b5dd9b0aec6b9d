"""Folders on this machine or in an object store (`s3://`, `gs://`), behind one small interface.

Files appear whole or not at all: on a file system they are written aside and renamed, in an object store
an object is there once all of it was sent. Those that grow by lines lose at most an unfinished one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

from ochat_ray.errors import DataError

SCHEMES = ("s3", "gs", "gcs")
ASIDE = re.compile(r"\..+\.\d+-[0-9a-f]{8}")  # what `writing` calls a file that is not whole yet
TAIL = 1 << 16  # bytes that are looked through at a time for the last whole line


class Entry(NamedTuple):
    """A file: its path below the folder, its size in bytes and its time of change in ns (0: unknown)."""

    path: str
    size: int
    changed: int


class Storage(Protocol):
    """A folder. Paths are relative to it, with `/`; folders below it come into being as files do."""

    @property
    def location(self) -> str:
        """Its path or URI, for people and for `storage`."""

    def entries(self, below: str = "", leave_out: frozenset[str] = frozenset()) -> list[Entry]:
        """All files at any depth below `below`, sorted by path, but for folders in `leave_out` (locations);
        none where there is no such folder. Raises DataError where a folder cannot be read.
        """

    def open(self, path: str) -> BinaryIO:
        """A file to read from, seekable. Raises OSError."""

    def write(self, path: str, data: Any) -> None:
        """Write bytes (anything with the buffer protocol) as a file, whole. Raises OSError."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of this path."""

    def remove(self, path: str) -> None:
        """Remove a file or a folder with all in it; nothing happens where there is none."""


def is_remote(location: str | Path) -> bool:
    """Whether a location is in an object store."""
    return isinstance(location, str) and urlsplit(location).scheme in SCHEMES


def storage(location: str | Path) -> Storage:
    """The folder at a path or URI, which need not exist. Raises DataError for an unknown scheme."""
    text = str(location)
    if is_remote(text):
        return ObjectStorage(text)
    if "://" in text and not text.startswith("/"):
        raise DataError(f"{text}: unknown scheme; give a path, or {', '.join(f'{s}://' for s in SCHEMES)}")
    return LocalStorage(Path(text).absolute())


def read(folder: Storage, path: str) -> bytes:
    """All bytes of a file. Raises OSError."""
    with folder.open(path) as file:
        return file.read()


class LocalStorage:
    """A folder of a file system. Names that are no UTF-8 are kept as Python keeps them (surrogates)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def location(self) -> str:
        return str(self.root)

    def entries(self, below: str = "", leave_out: frozenset[str] = frozenset()) -> list[Entry]:
        start = self.root / below
        if not start.exists():
            return []
        seen = {_identity(Path(path)) for path in leave_out} | {_identity(start)}
        return sorted(_walk(str(start), f"{below}/" if below else "", seen))

    def open(self, path: str) -> BinaryIO:
        target = self.root / path
        if not stat.S_ISREG(target.stat().st_mode):  # opening a pipe would wait for a writer
            raise OSError(errno.EINVAL, "is a pipe, a device or a folder, not a file", str(target))
        return target.open("rb")

    def write(self, path: str, data: Any) -> None:
        target = self.root / path
        try:
            with writing(target) as aside:
                aside.write_bytes(data)
        except OSError as error:  # a full disk's error does not say of which file
            raise OSError(error.errno, error.strerror, str(target)) from error

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def remove(self, path: str) -> None:
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)


class ObjectStorage:
    """A prefix in a bucket. Credentials, region and endpoint are those of the environment
    (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS and so on)."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    @property
    def location(self) -> str:
        return self.uri

    def entries(self, below: str = "", leave_out: frozenset[str] = frozenset()) -> list[Entry]:
        from pyarrow import fs

        system, root = _file_system(self.uri)
        start = f"{root}/{below}" if below else root
        try:
            found = system.get_file_info(fs.FileSelector(start, recursive=True, allow_not_found=True))
        except OSError as error:
            raise DataError(f"{self.uri}: cannot be listed ({_first_line(error)})") from error
        left_out = tuple(f"{_file_system(uri)[1]}/" for uri in leave_out if is_remote(uri))
        return sorted(
            Entry(info.path.removeprefix(f"{root}/"), info.size, info.mtime_ns or 0)
            for info in found
            if info.type == fs.FileType.File and not info.path.startswith(left_out)
        )

    def open(self, path: str) -> BinaryIO:
        system, root = _file_system(self.uri)
        file: BinaryIO = system.open_input_file(f"{root}/{path}")
        return file

    def write(self, path: str, data: Any) -> None:
        system, root = _file_system(self.uri)
        try:
            with system.open_output_stream(f"{root}/{path}") as out:
                out.write(data)
        except OSError as error:
            raise OSError(error.errno or errno.EIO, _first_line(error), f"{self.uri}/{path}") from error

    def exists(self, path: str) -> bool:
        from pyarrow import fs

        system, root = _file_system(self.uri)
        return bool(system.get_file_info(f"{root}/{path}").type != fs.FileType.NotFound)

    def remove(self, path: str) -> None:
        from pyarrow import fs

        system, root = _file_system(self.uri)
        kind = system.get_file_info(f"{root}/{path}").type
        if kind == fs.FileType.Directory:
            system.delete_dir(f"{root}/{path}")
        elif kind == fs.FileType.File:
            system.delete_file(f"{root}/{path}")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` in one step if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several machines may write to one shared folder, so the process id alone is not enough.
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """What a killed `writing(path)` left beside it; for whoever alone may write there."""
    return sorted(path.parent.glob(f".{path.name}.*"))


def sweep(folder: Storage) -> None:
    """Remove what killed writers left at any depth; for whoever alone may write there."""
    for entry in folder.entries():
        if ASIDE.fullmatch(entry.path.rpartition("/")[2]):
            folder.remove(entry.path)


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


@contextmanager
def growing(path: Path) -> Iterator[IO[bytes]]:
    """A local file of lines, made if there is none, that nothing but this block appends to; an unfinished
    last line, which a killed process left, is dropped first.

    Raises DataError where another process appends to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = lock_file(path.with_name(f"{path.name}.lock"))
    if lock is None:
        raise DataError(f"{path}: another run writes to it; wait for that, or give another file")
    with lock, path.open("a+b") as file:
        _drop_torn_line(file)
        yield file
        file.flush()
        os.fsync(file.fileno())


def _drop_torn_line(file: IO[bytes]) -> None:
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - TAIL)
        file.seek(begin)
        newline = file.read(end - begin).rfind(b"\n")
        if newline >= 0:
            end = begin + newline + 1
            break
        end = begin
    file.truncate(end)


def _file_system(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it."""
    # The path is no part of what pyarrow parses: names may hold spaces, `#` or any letters.
    scheme, _, path = uri.partition("://")
    bucket, _, key = path.partition("/")
    system, root = _bucket(f"{scheme}://{bucket}")
    return system, f"{root}/{key}".rstrip("/")


@lru_cache(maxsize=64)
def _bucket(uri: str) -> tuple[Any, str]:
    from pyarrow import fs

    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{uri}: cannot be used ({_first_line(error)}); give e.g. s3://bucket/folder"
        ) from error
    return system, path.rstrip("/")


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode, which tell folders apart whatever they are called."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _walk(top: str, prefix: str, seen: set[tuple[int, int] | None]) -> Iterator[Entry]:
    """Files below `top`, with `prefix` before their paths; folders in `seen` are not entered.

    Links to folders are followed after all else, in order, so that a folder that can be reached by several
    ways always has the same name.
    """
    links: deque[tuple[str, str]] = deque()
    yield from _walk_real(top, prefix, seen, links)
    while links:
        folder, prefix = links.popleft()
        if (identity := _identity(Path(folder))) not in seen:
            seen.add(identity)
            yield from _walk_real(folder, prefix, seen, links)


def _walk_real(
    folder: str, prefix: str, seen: set[tuple[int, int] | None], links: deque[tuple[str, str]]
) -> Iterator[Entry]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); change its permissions") from error
    for entry in entries:
        path = prefix + entry.name
        try:
            facts = entry.stat()
        except OSError:  # a dangling link: becomes a reject like any file that cannot be read
            yield Entry(path, 0, 0)
            continue
        if not stat.S_ISDIR(facts.st_mode):
            yield Entry(path, facts.st_size, facts.st_mtime_ns)
        elif entry.is_symlink():
            links.append((entry.path, f"{path}/"))
        elif (facts.st_dev, facts.st_ino) not in seen:
            seen.add((facts.st_dev, facts.st_ino))
            yield from _walk_real(entry.path, f"{path}/", seen, links)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
