"""JSON Lines, and files of JSON values, cut into their records without reading all of them at once.

A record that is broken costs itself alone, and one that is too large is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ochat_ray.data.read.errors import SourceError

CHUNK = 2**20
MARKS = re.compile(rb'["\\{}\[\],]')
SPACE = b" \t\r\n"
BOM = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """One record: its number from 1 (of its line, or of the value in the file), and its bytes.

    `whole` is false for a record of more than `limit` bytes, of which only the beginning is there, and for
    one in which the file ends.
    """

    number: int
    data: bytes
    whole: bool = True


def lines(file: BinaryIO, limit: int, *, first: int = 1, length: int | None = None) -> Iterator[Record]:
    """The lines of a stream that are not blank; `length` bytes of it, if that is given."""
    number, taken = first - 1, 0
    while length is None or taken < length:
        line = file.readline(limit + 1)
        if not line:
            return
        number += 1
        taken += len(line)
        whole = len(line) <= limit or line.endswith(b"\n")
        rest = not whole
        while rest:
            more = file.readline(CHUNK)
            taken += len(more)
            rest = bool(more) and not more.endswith(b"\n")
        line = line.removeprefix(BOM) if number == 1 else line
        if line.strip():
            yield Record(number, line, whole)


def values(file: BinaryIO, limit: int) -> Iterator[Record]:
    """The elements of a JSON list, or the JSON values that stand one after the other in a stream.

    Only brackets and strings are looked at, so that a fault inside an element does not hide the next.
    Raises SourceError for a list that goes on after its end.
    """
    scanner = _Scanner(limit)
    mark = BOM
    while chunk := file.read(CHUNK):
        yield from scanner.feed(chunk.removeprefix(mark))
        mark = b""
    yield from scanner.end()


class _Scanner:
    """Cuts a stream of bytes at the commas (in a list) or ends (outside) of values at the outermost level."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.listed: bool | None = None  # whether the values stand in one list; None before the first byte
        self.depth = 0
        self.in_string = self.escaped = self.closed = False
        self.number = 0
        self.size = 0
        self.parts: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Record]:
        start = 0
        if self.listed is None:
            chunk = chunk.lstrip(SPACE)
            if not chunk:
                return
            self.listed = chunk[:1] == b"["
            start = 1 if self.listed else 0
        if self.escaped:  # the last chunk ended in a backslash
            self.escaped = False
            self._keep(chunk[start : start + 1])
            start += 1
        position = start
        while match := MARKS.search(chunk, position):
            at, mark = match.start(), match[0]
            position = at + 1
            if self.in_string:
                if mark == b'"':
                    self.in_string = False
                elif mark == b"\\":
                    position += 1
                    self.escaped = position > len(chunk)
            elif mark == b'"':
                self.in_string = True
            elif mark in b"{[":
                self.depth += 1
            elif mark in b"}]":
                if self.depth == 0:  # the list's own end
                    self._keep(chunk[start:at])
                    yield from self._cut()
                    self._close(chunk[position:])
                    return
                self.depth -= 1
                if self.depth == 0 and not self.listed:
                    self._keep(chunk[start:position])
                    start = position
                    yield from self._cut()
            elif mark == b"," and self.depth == 0:
                self._keep(chunk[start:at])
                start = position
                yield from self._cut()
        self._keep(chunk[start:])

    def end(self) -> Iterator[Record]:
        broken_off = self.depth > 0 or self.in_string or bool(self.listed and not self.closed)
        for record in self._cut():
            yield record._replace(whole=record.whole and not broken_off)

    def _close(self, rest: bytes) -> None:
        self.closed = True
        if rest.strip(SPACE):
            raise SourceError(
                "bad_json", f"the list ends after {self.number:,} elements, but text follows it"
            )

    def _keep(self, piece: bytes) -> None:
        if self.closed and piece.strip(SPACE):
            self._close(piece)
        if self.size <= self.limit:
            self.parts.append(piece)
        self.size += len(piece)

    def _cut(self) -> Iterator[Record]:
        data, size = b"".join(self.parts).strip(SPACE), self.size
        self.parts, self.size = [], 0
        if data:
            self.number += 1
            yield Record(self.number, data[: self.limit], size <= self.limit)
