"""Finding saved pages, and cutting them into chunks that stay the same from run to run."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ochat_ray.errors import DataError

FOLDER = "ShareGPT"
SUFFIXES = (".html", ".htm")


class PageFile(NamedTuple):
    """A page: its path below the folder of pages, its size in bytes and its time of change in ns."""

    path: str
    size: int
    mtime_ns: int


def pages_folder(source: Path) -> Path:
    """The folder of pages: `source/ShareGPT` where there is one, else `source` itself.

    Raises DataError for a path that is no readable folder.
    """
    try:
        kind = source.stat().st_mode
        names = [entry.name for entry in os.scandir(source)] if stat.S_ISDIR(kind) else []
    except FileNotFoundError:
        raise DataError(f"{source}: no such folder; give the folder of the saved .html pages") from None
    except OSError as error:
        raise _unreadable(source, error) from error
    if not stat.S_ISDIR(kind):
        raise DataError(f"{source}: is a file; give the folder of the saved .html pages")
    return source / FOLDER if FOLDER in names else source


def find_pages(folder: Path, leave_out: Path) -> list[PageFile]:
    """All pages below `folder` but not below `leave_out`, sorted by path.

    Raises DataError where a folder cannot be read or there are no pages.
    """
    seen = {(facts.st_dev, facts.st_ino) for facts in (p.stat() for p in (folder, leave_out) if p.exists())}
    pages = sorted(_walk(folder, folder, seen))
    if not pages:
        raise DataError(f"{folder}: no saved pages (*.html) in it; give the folder that holds them")
    return pages


def chunks(pages: Sequence[PageFile], size: int) -> list[list[PageFile]]:
    """Pages in runs of `size`."""
    return [list(pages[start : start + size]) for start in range(0, len(pages), size)]


def _walk(folder: Path, root: Path, seen: set[tuple[int, int]]) -> Iterator[PageFile]:
    """Pages below `folder`; folders in `seen` (device and inode) are not entered, again or at all."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise _unreadable(folder, error) from error
    for entry in entries:
        path = folder / entry.name
        if path.is_dir():
            facts = path.stat()
            if (facts.st_dev, facts.st_ino) not in seen:
                seen.add((facts.st_dev, facts.st_ino))
                yield from _walk(path, root, seen)
        elif entry.name.lower().endswith(SUFFIXES):
            yield _page(path, root)


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(f"{folder}: cannot be read ({error.strerror}); change its permissions")


def _page(path: Path, root: Path) -> PageFile:
    try:
        facts = path.stat()
    except OSError:  # a dangling link: becomes a reject like any page that cannot be read
        return PageFile(path.relative_to(root).as_posix(), 0, 0)
    return PageFile(path.relative_to(root).as_posix(), facts.st_size, facts.st_mtime_ns)
