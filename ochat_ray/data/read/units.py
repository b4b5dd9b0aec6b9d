"""Input files to units of work: many small files together, or a piece of a big one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ochat_ray.data.read.formats import Format
from ochat_ray.storage import Storage

CHUNK = 2**22  # bytes of JSON Lines looked at together
PACKED = 8  # about how many times their size Parquet and zip files hold
MAX_FILES = 1000  # of one unit, which holds all of their names


class InputFile(NamedTuple):
    """A file to read: its path below the input folder, size in bytes, time of change in ns, and format."""

    path: str
    size: int
    changed: int
    format: Format


class Piece(NamedTuple):
    """A file or a part: bytes `start` to `stop` of JSON Lines, row groups of Parquet, members of a zip.

    `first` is the number of its first record in the file, `bytes` about how much there is in it to read.
    """

    path: str
    size: int
    changed: int
    format: Format
    bytes: int
    start: int = 0
    stop: int | None = None
    first: int = 1


Unit = tuple[Piece, ...]


def whole(file: InputFile) -> Piece:
    """A file as one piece."""
    return Piece(*file, bytes=file.size)


def splits(file: InputFile, task_bytes: int) -> bool:
    """Whether a file is cut into pieces. One stream (a tar, anything compressed, a JSON list) cannot be."""
    kind, compression = file.format
    size = file.size * (PACKED if kind in ("parquet", "zip") else 1)
    return kind in ("jsonl", "parquet", "zip") and compression is None and size > 2 * task_bytes


def split(folder: Storage, file: InputFile, task_bytes: int) -> list[Piece]:
    """The pieces of a file, of about `task_bytes`. Whole where it cannot be read: its reader says why."""
    try:
        found = list(_SPLITTERS[file.format.kind](folder, file, task_bytes))
    except (OSError, ValueError, RuntimeError):
        return [whole(file)]
    return found or [whole(file)]


def units(pieces: Iterable[Piece], task_bytes: int, max_files: int = MAX_FILES) -> list[Unit]:
    """Pieces in runs of about `task_bytes`, and of `max_files` at most."""
    found: list[Unit] = []
    run: list[Piece] = []
    size = 0
    for piece in pieces:
        if run and (size + piece.bytes > task_bytes or len(run) == max_files):
            found.append(tuple(run))
            run, size = [], 0
        run.append(piece)
        size += piece.bytes
    if run:
        found.append(tuple(run))
    return found


def _split_lines(folder: Storage, file: InputFile, task_bytes: int) -> Iterator[Piece]:
    """Pieces that end at ends of lines; one pass over the file counts them."""
    start = position = 0
    first = number = 1
    blank = True
    with folder.open(file.path) as stream:
        while chunk := stream.read(min(CHUNK, task_bytes)):
            blank = blank and chunk.isspace()
            cut = chunk.rfind(b"\n") + 1
            number += chunk.count(b"\n")
            if not blank and cut and position + cut - start >= task_bytes:
                stop = position + cut
                yield Piece(*file, stop - start, start, stop, first)
                start, first = stop, number
            position += len(chunk)
    if position > start and not blank:  # with nothing in it at all, it is left whole
        yield Piece(*file, position - start, start, position, first)


def _split_rows(folder: Storage, file: InputFile, task_bytes: int) -> Iterator[Piece]:
    import pyarrow.parquet as pq

    with folder.open(file.path) as stream:
        metadata = pq.ParquetFile(stream).metadata
        sizes = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
        rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    first = 1
    for start, stop in _runs(sizes, task_bytes):
        yield Piece(*file, sum(sizes[start:stop]), start, stop, first)
        first += sum(rows[start:stop])


def _split_members(folder: Storage, file: InputFile, task_bytes: int) -> Iterator[Piece]:
    import zipfile

    with folder.open(file.path) as stream, zipfile.ZipFile(stream) as archive:
        sizes = [info.file_size for info in archive.infolist()]
    for start, stop in _runs(sizes, task_bytes):
        yield Piece(*file, sum(sizes[start:stop]), start, stop)


def _runs(sizes: list[int], task_bytes: int) -> Iterator[tuple[int, int]]:
    """Runs of neighbours whose sizes come to `task_bytes` or more, but for the last."""
    start = total = 0
    for index, size in enumerate(sizes, 1):
        total += size
        if total >= task_bytes:
            yield start, index
            start, total = index, 0
    if start < len(sizes):
        yield start, len(sizes)


_SPLITTERS = {"jsonl": _split_lines, "parquet": _split_rows, "zip": _split_members}
