"""Pieces of input files to documents: a saved page, or a record of an export, and where each came from."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from ochat_ray.columns import PAGES
from ochat_ray.conversation import Rejected
from ochat_ray.data.read.archives import Member, tar_members, zip_members
from ochat_ray.data.read.errors import DAMAGED, SourceError
from ochat_ray.data.read.formats import Format, by_name, decompressed
from ochat_ray.data.read.json_stream import Record, lines, values
from ochat_ray.data.read.json_value import load_json
from ochat_ray.data.read.page import read_page
from ochat_ray.data.read.record import FACTS, LISTS, read_record
from ochat_ray.data.read.source import Source
from ochat_ray.data.read.units import Piece
from ochat_ray.errors import one_line
from ochat_ray.storage import Storage

MAX_BYTES = 64 * 2**20  # of one page or record: more is no conversation
BATCH_BYTES = 2**24  # of rows of a table, which are in memory together
KEPT_BYTES = 2**16  # of what is larger


class Document(NamedTuple):
    """A page's bytes, or a record as JSON bytes or as a row; `source` says where it came from."""

    source: str
    content: bytes | dict[str, Any]
    page: bool

    def understand(self) -> Source:
        """What it says. Raises SourceError."""
        if self.page:
            assert isinstance(self.content, bytes)
            return read_page(self.content)
        return read_record(load_json(self.content) if isinstance(self.content, bytes) else self.content)


class Ignored(NamedTuple):
    """A member of an archive that is hidden, or in none of the known formats."""

    source: str


Found = Document | Rejected | Ignored


def size_of(found: Found) -> int:
    """About how many bytes of content it holds."""
    if isinstance(found, Document):
        return _size(found.content)
    return len(found.raw or b"") if isinstance(found, Rejected) else 0


def _size(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 0


class Read(NamedTuple):
    """What was found in a piece, and about how many of its bytes were read by then."""

    found: Found
    bytes: int


def documents(folder: Storage, piece: Piece) -> Iterator[Read]:
    """The documents in a piece of a file. What cannot be read becomes a Rejected; never raises for input."""
    name = shown(piece.path)
    count = 0
    try:
        with folder.open(piece.path) as file:
            whole = piece.start == 0 and piece.stop is None
            found_here = _in_file(file, name, piece)
            for found in _some(found_here, name) if whole else found_here:
                count += 1
                yield Read(found, _position(file, piece))
        return
    except SourceError as error:
        reason, problem = error.reason, error.detail
    except DAMAGED as error:
        reason, problem = "damaged", one_line(error)
    except OSError as error:
        # Python's gzip, bz2 and pyarrow tell of damage by OSErrors without a number.
        reason, problem = "unreadable" if error.errno else "damaged", error.strerror or one_line(error)
    after = f", after {count:,} documents" if count else ""
    yield Read(Rejected(name, name, reason, f"cannot be read{after}: {problem}"), piece.bytes)


def _position(file: BinaryIO, piece: Piece) -> int:
    """Bytes of a piece that were read, as far as the file's position tells."""
    if piece.stop is not None and piece.format.kind != "jsonl":
        return 0
    return max(0, min(file.tell() - piece.start, piece.bytes))


def shown(path: str) -> str:
    """A path for people: bytes of its name that are no UTF-8 are shown escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def rejected(source: str, error: SourceError, raw: bytes | None = None) -> Rejected:
    """A document that could not be used."""
    return Rejected(PurePosixPath(source).name, source, error.reason, error.detail, raw=raw)


def _in_file(file: BinaryIO, name: str, piece: Piece) -> Iterator[Found]:
    kind, compression = piece.format
    if kind in ("zip", "parquet") and compression:
        file = io.BytesIO(decompressed(file, compression).read())  # both are read from their ends
    if kind == "tar":
        yield from _members(tar_members(decompressed(file, compression)), name)
    elif kind == "zip":
        yield from _members(zip_members(file, piece.start, piece.stop), name)
    elif kind == "parquet":
        yield from _rows(file, name, piece)
    else:
        if piece.start:
            file.seek(piece.start)
        length = None if piece.stop is None else piece.stop - piece.start
        yield from _texts(decompressed(file, compression), name, kind, first=piece.first, length=length)


def _some(found: Iterator[Found], source: str) -> Iterator[Found]:
    """What was found; where that is nothing, a reject that says so."""
    nothing = True
    for one in found:
        nothing = False
        yield one
    if nothing:
        yield rejected(source, SourceError("no_data", "holds no pages or records"))


def _texts(
    file: BinaryIO, name: str, kind: str, first: int = 1, length: int | None = None
) -> Iterator[Found]:
    """The documents in a stream of text: one page, or many records."""
    if kind == "page":
        page = file.read(MAX_BYTES + 1)
        yield _too_large(name, page) if len(page) > MAX_BYTES else Document(name, page, page=True)
    elif kind == "jsonl":
        for record in lines(file, MAX_BYTES, first=first, length=length):
            yield _record(name, record)
    else:
        for record in values(file, MAX_BYTES):
            yield _record(name, record)


def _record(name: str, record: Record) -> Document | Rejected:
    source = f"{name}:{record.number}"
    if record.whole:
        return Document(source, record.data, page=False)
    if len(record.data) >= MAX_BYTES:
        return _too_large(source, record.data)
    error = SourceError("bad_json", f"the file ends in it, after {len(record.data):,} bytes of it")
    return rejected(source, error, record.data)


def _too_large(source: str, beginning: bytes) -> Rejected:
    limit = f"more than {MAX_BYTES // 2**20} MiB, which is no conversation"
    error = SourceError("too_large", f"{limit}; its first {KEPT_BYTES // 1024} KiB are kept")
    return rejected(source, error, beginning[:KEPT_BYTES])


def _members(members: Iterator[Member | SourceError], name: str) -> Iterator[Found]:
    for member in members:
        if isinstance(member, SourceError):
            yield rejected(name, member)
            continue
        source = f"{name}/{shown(member.path)}"
        found = by_name(member.path)
        if isinstance(member.content, SourceError):
            yield rejected(source, member.content)
        elif hidden(member.path) or found is None:
            yield Ignored(source)
        elif found.kind in ("tar", "zip", "parquet"):
            error = SourceError("nested", f"a {found.kind} file inside an archive; unpack the outer one")
            yield rejected(source, error)
        else:
            yield from _member(member.content, source, found)


def _member(content: BinaryIO, source: str, format: Format) -> Iterator[Found]:
    try:
        yield from _some(_texts(decompressed(content, format.compression), source, format.kind), source)
    except SourceError as error:
        yield rejected(source, error)
    except (*DAMAGED, OSError) as error:
        yield rejected(source, SourceError("damaged", f"cannot be read to its end: {one_line(error)}"))


def _rows(file: BinaryIO, name: str, piece: Piece) -> Iterator[Found]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    columns = table.schema_arrow.names
    packed = table.schema_arrow.equals(PAGES)
    if not packed and not set(LISTS) & set(columns):
        if piece.start == 0:  # once a file
            raise SourceError("unknown_record", f"has none of the columns {', '.join(LISTS)}")
        return
    wanted = PAGES.names if packed else [name for name in columns if name in (*LISTS, *FACTS)]
    first = piece.first
    for group in range(table.num_row_groups)[piece.start : piece.stop]:
        facts = table.metadata.row_group(group)
        number, following = first, first + facts.num_rows
        batch_rows = BATCH_BYTES * facts.num_rows // max(facts.total_byte_size, 1)
        try:
            for batch in table.iter_batches(min(max(batch_rows, 1), 256), row_groups=[group], columns=wanted):
                for found in _in_batch(batch, name, number, packed=packed):
                    yield found
                    number += 1
        except (*DAMAGED, OSError) as error:
            lost = f"rows {number:,} to {following - 1:,} cannot be read: {one_line(error)}"
            yield rejected(f"{name}:{number}", SourceError("damaged", lost))
        first = following


def _in_batch(batch: Any, name: str, first: int, *, packed: bool) -> Iterator[Found]:
    for number, row in enumerate(_pylist(batch), first):
        if isinstance(row, UnicodeDecodeError):
            yield rejected(f"{name}:{number}", SourceError("not_text", f"a text is not UTF-8 ({row.reason})"))
        elif packed:
            yield Document(row["source"], row["page"], page=True)
        else:
            yield Document(f"{name}:{number}", row, page=False)


def _pylist(batch: Any) -> list[dict[str, Any] | UnicodeDecodeError]:
    """The rows of a batch; in the place of one with text that is none, the error."""
    try:
        rows: list[dict[str, Any] | UnicodeDecodeError] = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            return [error]
        return [row for i in range(batch.num_rows) for row in _pylist(batch.slice(i, 1))]
    return rows


def hidden(path: str) -> bool:
    """Whether a file is one of those that systems leave beside others' (`.DS_Store`, `__MACOSX/`)."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(path).parts)
