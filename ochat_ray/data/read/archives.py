"""Members of archives, one after the other; nothing is unpacked to disk, and no member's path is followed."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, Self

from ochat_ray.data.read.errors import DAMAGED, SourceError
from ochat_ray.errors import one_line

ENCRYPTED = 0x1


class Member(NamedTuple):
    """A file in an archive: its path there, and a stream of its content or why there is none."""

    path: str
    content: BinaryIO | SourceError


def tar_members(file: BinaryIO) -> Iterator[Member | SourceError]:
    """The members of a tar archive, or of several one behind the other, that is read as a stream.

    Damage between members, of which tarfile says nothing, comes as a SourceError where it is; what follows is
    read. Raises one of DAMAGED.
    """
    blocks = _Blocks()
    with tarfile.open(fileobj=file, mode="r|", tarinfo=blocks.header, ignore_zeros=True) as archive:
        last = "its beginning"
        while True:
            info = _next_header(archive, blocks)
            if blocks.bad:
                lost = f"{blocks.bad:,} blocks that belong to no member were passed over"
                yield SourceError("damaged", f"damaged after {last}: {lost}")
            elif info is None and not blocks.ended:
                yield SourceError("damaged", f"breaks off after {last}: the mark of its end is missing")
            blocks.bad = 0
            if info is None:
                break
            last = ascii(info.name)
            archive.members.clear()  # type: ignore[attr-defined]  # it keeps all it met
            if info.isdir():
                continue
            if not info.isreg():
                error = SourceError("unsafe_member", "is a link or a device, not a file; nothing is followed")
                yield Member(info.name, error)
                continue
            content = archive.extractfile(info)
            assert content is not None  # only for what is no regular file
            yield Member(info.name, _outside(info.name) or content)  # type: ignore[arg-type]


class _Blocks:
    """What the blocks of a tar are that tarfile takes for headers: how many are `bad` since this was last
    looked at, and whether the last was a mark of the `ended` archive."""

    def __init__(self) -> None:
        blocks = self
        self.bad = 0
        self.ended = False

        class Header(tarfile.TarInfo):
            @classmethod
            def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
                if buf:  # otherwise the file is at its end
                    blocks.ended = not any(buf)
                try:
                    return super().frombuf(buf, encoding, errors)
                except tarfile.HeaderError:
                    blocks.bad += any(buf)
                    raise

        self.header = Header


def _next_header(archive: tarfile.TarFile, blocks: _Blocks) -> tarfile.TarInfo | None:
    while True:
        try:
            return archive.next()
        except tarfile.ReadError:  # damage behind the first of the headers that a long name takes
            assert archive.fileobj is not None
            here = archive.fileobj.tell()
            if here == archive.offset:  # nothing more can be read
                raise
            blocks.bad += 1
            archive.offset = here


def zip_members(file: BinaryIO, start: int, stop: int | None) -> Iterator[Member]:
    """Members `start` to `stop` of a zip archive. Raises one of DAMAGED."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist()[start:stop]:
            if info.filename.endswith("/"):  # `is_dir` fails on a name that is empty
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
            except (*DAMAGED, OSError) as problem:  # its header here, not that in the directory
                yield Member(info.filename, SourceError("damaged", f"cannot be read: {one_line(problem)}"))
                continue
            with content:
                yield Member(info.filename, content)  # type: ignore[arg-type]


def _outside(path: str) -> SourceError | None:
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if path.startswith(("/", "\\")) or ".." in parts or path[1:2] == ":":
        return SourceError("unsafe_member", "its path leads out of the archive")
    return None
