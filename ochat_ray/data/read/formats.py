"""Formats of input files, recognised by their names, or by their first bytes where a name says nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from pathlib import PurePosixPath
from typing import BinaryIO, Literal, NamedTuple, get_args

Kind = Literal["page", "json", "jsonl", "parquet", "tar", "zip"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Compression = Literal["gz", "zst", "bz2", "xz"]


class Format(NamedTuple):
    """What a file is, once decompressed."""

    kind: Kind
    compression: Compression | None = None


SUFFIXES: dict[str, Kind] = {
    ".html": "page",
    ".htm": "page",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".tar": "tar",
    ".zip": "zip",
}
COMPRESSED: dict[str, Compression] = {".gz": "gz", ".zst": "zst", ".bz2": "bz2", ".xz": "xz"}
SHORT: dict[str, Compression] = {".tgz": "gz", ".tzst": "zst", ".tbz2": "bz2", ".txz": "xz"}
MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"PAR1", Format("parquet")),
    (b"PK\x03\x04", Format("zip")),
    (b"<", Format("page")),
    (b"[", Format("json")),
    (b"{", Format("json")),  # JSON Lines too: the reader of JSON takes one value after another
)


def by_name(name: str, kind: Kind | None = None) -> Format | None:
    """The format that a file's name ends in, but of `kind` if that is given; None for no known one."""
    path = PurePosixPath(name.lower())
    suffix = path.suffix
    if suffix in SHORT:
        return Format(kind or "tar", SHORT[suffix])
    compression = COMPRESSED.get(suffix)
    if compression:
        suffix = PurePosixPath(path.stem).suffix
    found = kind or SUFFIXES.get(suffix)
    return Format(found, compression) if found else None


def by_content(head: bytes) -> Format | None:
    """The format that a file's first bytes tell of; None for no known one."""
    if head[257:262] == b"ustar":
        return Format("tar")
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((known for magic, known in MAGIC if head.startswith(magic)), None)


def decompressed(file: BinaryIO, compression: Compression | None) -> BinaryIO:
    """The stream inside a compressed file, which can be read from its start to its end.

    Reading raises one of `DAMAGED` where the file is damaged or breaks off.
    """
    if compression == "gz":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if compression == "bz2":
        return bz2.BZ2File(file)  # type: ignore[return-value]
    if compression == "xz":
        return lzma.LZMAFile(file)  # type: ignore[return-value]
    import pyarrow as pa

    if compression == "zst":
        file = pa.CompressedInputStream(file, "zstd")
    # pyarrow's files lack `readline`.
    return io.BufferedReader(file) if isinstance(file, pa.NativeFile) else file
