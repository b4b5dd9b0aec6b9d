"""Room for keys and values: which stretch of the cache belongs to which request.

Each request has one contiguous span, so that attention reads it in place, without gathering pages. Spans
grow by blocks; where the neighbour is in the way they move, and where no hole is large enough the others
slide aside. So a request fits exactly when the free blocks suffice: nothing is lost to fragmentation.

The span of a request that is over stays, idle, for prompts that begin with the same tokens, until its
room is needed: the one that was used longest ago goes first.
"""

from __future__ import annotations

from typing import NamedTuple

BLOCK = 128  # tokens; a span moves at most once for so many new tokens


class Span(NamedTuple):
    """Tokens [start, start + size) of the cache."""

    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


class Move(NamedTuple):
    """Copy `size` tokens from `source` to `target`, which may overlap."""

    source: int
    target: int
    size: int


class Room:
    """`capacity` tokens, a whole number of blocks, given out as spans by request id.

    `dropped` collects the ids of idle spans that gave way; whoever keeps track of them empties it.
    """

    def __init__(self, tokens: int) -> None:
        self.capacity = tokens // BLOCK * BLOCK
        self.spans: dict[int, Span] = {}
        self.idle: dict[int, None] = {}  # used longest ago first
        self.dropped: list[int] = []
        self._owned = 0

    @property
    def free(self) -> int:
        """Tokens that belong to no request that goes on."""
        return self.capacity - self._owned

    def reserve(self, key: int, tokens: int) -> list[Move] | None:
        """Make sure that `key` has a span of at least `tokens`; what it holds already is kept.

        Returns the copies to make, in order, before the spans are used; None, with nothing changed,
        where the room does not suffice.
        """
        size = whole_blocks(tokens)
        old = self.spans.get(key, Span(0, 0))
        if size <= old.size:
            return []
        if size - old.size > self.free:
            return None
        self._owned += size - old.size
        while True:
            holes = self._holes(ignore=key)
            for hole in holes:
                if old.size and hole.start <= old.start < hole.end and hole.end - old.start >= size:
                    self.spans[key] = Span(old.start, size)
                    return []
            hole = max(self._holes(), key=lambda hole: hole.size, default=Span(0, 0))
            if hole.size >= size:
                self.spans[key] = Span(hole.start, size)
                return [Move(old.start, hole.start, old.size)] if old.size else []
            if not self.idle:
                return self._slide_aside(key, size)
            self._drop(next(iter(self.idle)))

    def release(self, key: int) -> None:
        """Give back a request's span."""
        self._owned -= self.spans.pop(key).size

    def retire(self, key: int) -> None:
        """The request is over; its span stays until it is needed."""
        self._owned -= self.spans[key].size
        self.idle[key] = None

    def touch(self, key: int) -> None:
        """An idle span was of use: it goes last."""
        if key in self.idle:
            del self.idle[key]
            self.idle[key] = None

    def adopt(self, idle: int, key: int) -> None:
        """Hand an idle span, with what it holds, to a new request."""
        del self.idle[idle]
        self.spans[key] = self.spans.pop(idle)
        self._owned += self.spans[key].size

    def _drop(self, key: int) -> None:
        del self.idle[key]
        del self.spans[key]
        self.dropped.append(key)

    def _holes(self, ignore: int | None = None) -> list[Span]:
        holes, at = [], 0
        for key, span in self._in_order():
            if key != ignore:
                if span.start > at:
                    holes.append(Span(at, span.start - at))
                at = span.end
        if at < self.capacity:
            holes.append(Span(at, self.capacity - at))
        return holes

    def _slide_aside(self, key: int, size: int) -> list[Move]:
        """Push the spans up to `key` to the left end and the others to the right end."""
        ordered = self._in_order()
        keys = [k for k, _ in ordered]
        split = keys.index(key) + 1 if key in keys else len(keys)
        moves, at = [], 0
        for k, span in ordered[:split]:
            moves.append(Move(span.start, at, span.size))
            self.spans[k] = Span(at, span.size)
            at += span.size
        end = self.capacity
        for k, span in reversed(ordered[split:]):
            end -= span.size
            moves.append(Move(span.start, end, span.size))
            self.spans[k] = Span(end, span.size)
        start = self.spans[key].start if key in keys else at
        self.spans[key] = Span(start, size)
        return [move for move in moves if move.source != move.target]

    def _in_order(self) -> list[tuple[int, Span]]:
        return sorted(self.spans.items(), key=lambda item: item[1].start)


def whole_blocks(tokens: int) -> int:
    """The size of a span for so many tokens."""
    return -(-tokens // BLOCK) * BLOCK
