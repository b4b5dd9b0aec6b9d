"""Formats by names and by first bytes, and streams inside compressed files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable

import pyarrow as pa
import pytest

from ochat_ray.data.read.errors import DAMAGED
from ochat_ray.data.read.formats import Compression, Format, by_content, by_name, decompressed

TEXT = b'{"id": 1}\n' * 5000
COMPRESS: dict[Compression, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: bytes(pa.Codec("zstd").compress(data)),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/x.html", Format("page")),
        ("X.HTM", Format("page")),
        ("x.html.gz", Format("page", "gz")),
        ("x.json", Format("json")),
        ("x.ndjson.zst", Format("jsonl", "zst")),
        ("x.tar", Format("tar")),
        ("x.tar.gz", Format("tar", "gz")),
        ("x.tgz", Format("tar", "gz")),
        ("x.tar.zst", Format("tar", "zst")),
        ("x.txz", Format("tar", "xz")),
        ("x.v2.zip", Format("zip")),
        ("x.parquet", Format("parquet")),
        ("x.txt", None),
        ("x.gz", None),
        ("html", None),
    ],
)
def test_names(name: str, expected: Format | None) -> None:
    assert by_name(name) == expected


def test_a_kind_that_is_given_stands_above_the_name() -> None:
    assert by_name("x.txt", "jsonl") == Format("jsonl")
    assert by_name("x.html.gz", "json") == Format("json", "gz")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"<!DOCTYPE html>", "page"),
        (b"\xef\xbb\xbf \n[", "json"),
        (b'{"a"', "json"),
        (b"PAR1", "parquet"),
        (b"PK\x03\x04", "zip"),
        (b"\0" * 257 + b"ustar\0", "tar"),
    ],
)
def test_first_bytes(head: bytes, kind: str) -> None:
    found = by_content(head)
    assert found is not None and found.kind == kind


def test_first_bytes_of_nothing_known() -> None:
    assert by_content(b"") is None
    assert by_content(b"hello") is None


@pytest.mark.parametrize("compression", COMPRESS)
def test_compressed_streams(compression: Compression) -> None:
    data = COMPRESS[compression](TEXT)
    assert decompressed(io.BytesIO(data), compression).read() == TEXT
    # Files that were written in pieces, as `cat a.gz b.gz` makes them.
    assert decompressed(io.BytesIO(data + data), compression).read() == TEXT + TEXT
    stream = decompressed(pa.BufferReader(data), compression)
    assert stream.readline() == b'{"id": 1}\n'
    assert stream.read(10) == b'{"id": 1}\n'


@pytest.mark.parametrize("compression", COMPRESS)
def test_damage_is_told_after_what_was_whole(compression: Compression) -> None:
    data = COMPRESS[compression](TEXT)
    for broken in (data[: len(data) // 2], b"not compressed at all"):
        with pytest.raises((*DAMAGED, OSError)):
            stream = decompressed(io.BytesIO(broken), compression)
            while stream.read(100):
                pass
