"""Members of archives, one after the other; nothing is unpacked to disk, and no member's path is followed."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from ochat_ray.data.read.errors import SourceError

ENCRYPTED = 0x1


class Member(NamedTuple):
    """A file in an archive: its path there, and a stream of its content or why there is none."""

    path: str
    content: BinaryIO | SourceError


def tar_members(file: BinaryIO) -> Iterator[Member]:
    """The members of a tar archive that is read as a stream. Raises one of DAMAGED."""
    with tarfile.open(fileobj=file, mode="r|") as archive:
        for info in archive:
            if info.isdir():
                continue
            if not info.isreg():
                error = SourceError("unsafe_member", "is a link or a device, not a file; nothing is followed")
                yield Member(info.name, error)
                continue
            content = archive.extractfile(info)
            assert content is not None  # only for what is no regular file
            yield Member(info.name, _outside(info.name) or content)  # type: ignore[arg-type]


def zip_members(file: BinaryIO, start: int, stop: int | None) -> Iterator[Member]:
    """Members `start` to `stop` of a zip archive. Raises one of DAMAGED."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist()[start:stop]:
            if info.is_dir():
                continue
            error = _outside(info.filename)
            if error is None and info.flag_bits & ENCRYPTED:
                error = SourceError("unreadable", "is encrypted; decrypt the archive first")
            if error is not None:
                yield Member(info.filename, error)
                continue
            try:
                content = archive.open(info)
            except NotImplementedError as problem:  # a method of compression that zipfile lacks
                yield Member(info.filename, SourceError("unreadable", str(problem)))
                continue
            with content:
                yield Member(info.filename, content)  # type: ignore[arg-type]


def _outside(path: str) -> SourceError | None:
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if path.startswith(("/", "\\")) or ".." in parts or path[1:2] == ":":
        return SourceError("unsafe_member", "its path leads out of the archive")
    return None
