"""JSON Lines, and files of JSON values, cut into their records without reading all of them at once.

A record that is broken costs itself alone, and one that is too large is passed over. Where a bracket or a
quote is missing, so that a record seems to go on, the next one is known by its opening: records of a file
begin alike, with `{`, white space and one key, and such bytes are in no string of valid JSON.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import BinaryIO, NamedTuple

from ochat_ray.data.read.errors import SourceError
from ochat_ray.data.read.json_value import load_json

CHUNK = 2**20
MARKS = re.compile(rb'(["{}\[\],])')
STRING = re.compile(rb'(?:[^"\\]++|\\.)*+("|\\?\Z)', re.DOTALL)  # to its end, or that of the chunk
BETWEEN = b" \t\r\n,"
OPENING = re.compile(rb'\{\s*"\w+"')
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
    """The JSON values that stand one after the other in a stream, and the elements of lists among them."""
    scanner = _Scanner(limit)
    mark = BOM
    while chunk := file.read(CHUNK):
        yield from scanner.feed(chunk.removeprefix(mark))
        mark = b""
    yield from scanner.end()


class _Scanner:
    """Cuts a stream of bytes at the commas (in a list) or ends (outside) of values at the outermost level.

    Only brackets and strings are looked at. What was cut out and is no JSON, but has the opening of another
    record in it, is cut there instead, and the rest looked at again.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.listed: bool | None = None  # whether the values stand in a list; None where that begins
        self.opening = b""  # of the first record
        self.number = 0
        self._begin()

    def _begin(self) -> None:
        self.depth = 0
        self.in_string = self.escaped = False
        self.size = 0
        self.parts: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Record]:
        while chunk:
            chunk = yield from self._feed(chunk)

    def end(self) -> Iterator[Record]:
        again = b"again"
        while again:
            broken_off = self.depth > 0 or self.in_string or bool(self.listed)
            again = yield from self._cut(broken_off=broken_off)
            yield from self.feed(again)

    def _feed(self, chunk: bytes) -> Generator[Record, None, bytes]:
        """The records that end in a chunk; returns what has to be fed next."""
        start = 0
        if self.listed is None:
            chunk = chunk.lstrip(BETWEEN)
            if not chunk:
                return b""
            self.listed = chunk[:1] == b"["
            start = 1 if self.listed else 0
        if self.escaped:  # the last chunk ended in a backslash
            self.escaped = False
            self._keep(chunk[start : start + 1])
            start += 1
        position = start
        while match := (STRING.match if self.in_string else MARKS.search)(chunk, position):
            position = match.end()
            at, mark = match.start(1), match[1]
            stop = None  # where a value ends
            if self.in_string:
                if mark != b'"':
                    self.escaped = mark == b"\\"
                    break
                self.in_string = False
                before = at - self.opening.find(b'"')
                if start <= before < at and chunk.startswith(self.opening, before):
                    stop = position = before  # the quote that should have ended the string is missing
            elif mark == b'"':
                self.in_string = True
            elif mark in b"{[":
                self.depth += 1
            elif self.depth:
                self.depth -= mark in b"}]"
                stop = position if self.depth == 0 and not self.listed else None
            elif mark == b"," or (mark == b"]" and self.listed):
                stop = at
            if stop is None:
                continue
            self._keep(chunk[start:stop])
            start = position
            again = yield from self._cut()
            if again:
                return again + chunk[stop:]
            if mark == b"]" and stop == at:  # the list's own end
                self.listed = None
                return chunk[position:]
        self._keep(chunk[start:])
        return (yield from self._pass_over()) if self.size > self.limit else b""

    def _pass_over(self) -> Generator[Record, None, bytes]:
        """Keep the beginning alone of what is too large; if it is broken, another record ends it."""
        data = b"".join(self.parts)
        if self._next(data):
            return (yield from self._cut())
        self.parts = [data[: self.limit]]
        return b""

    def _keep(self, piece: bytes) -> None:
        self.parts.append(piece)
        self.size += len(piece)

    def _cut(self, *, broken_off: bool = False) -> Generator[Record, None, bytes]:
        """What was kept as a record; returns what of it is of the next one."""
        data, size = b"".join(self.parts).strip(BETWEEN), self.size
        following = self._next(data)
        record = data[: following or None].rstrip(BETWEEN)
        self._begin()
        if record:
            whole = (following or size) <= self.limit and (bool(following) or not broken_off)
            self.number += 1
            yield Record(self.number, record[: self.limit], whole)
        return data[following:] if following else b""

    def _next(self, data: bytes) -> int:
        """Where in what should be a record the next one begins; 0 for nowhere."""
        if not self.opening and (opening := OPENING.match(data)):
            self.opening = opening[0]
        at = data.find(self.opening, 1) if self.opening else -1
        return 0 if at < 0 or _is_json(data) else at


def _is_json(data: bytes) -> bool:
    try:
        load_json(data)
    except SourceError as error:
        return error.reason != "bad_json"
    return True
