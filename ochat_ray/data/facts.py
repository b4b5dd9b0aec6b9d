"""What there is to count of a shard, as nested counts that add up over shards."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from ochat_ray.conversation import Message
from ochat_ray.data.report.histogram import Histogram, bins

Counts = dict[str, Any]  # of ints, or of counts
PER_DOUBLING = 4  # bins of lengths


def add_counts(counts: Iterable[Counts]) -> Counts:
    """Counts of disjoint sets, added up, each level of them; keys sorted."""
    total: Counts = {}
    for one in counts:
        for key, value in one.items():
            if isinstance(value, dict):
                total[key] = add_counts([total.get(key, {}), value])
            else:
                total[key] = total.get(key, 0) + value
    return dict(sorted(total.items()))


def spread(values: Iterable[int]) -> Counts:
    """How many values fall into each bin, by the bin's lower border."""
    edges = _edges()
    found = Counter(edges[bisect_right(edges, value) - 1] for value in values)
    return {str(edge): found[edge] for edge in sorted(found)}


def histogram(counts: Counts) -> Histogram:
    """The histogram of what `spread` counted."""
    edges = _edges()
    filled = Histogram(edges=edges, counts=tuple(counts.get(str(edge), 0) for edge in edges[:-1]))
    return filled.trimmed()


def tally(read: Sequence[str | None], kept: Sequence[str | None]) -> Counts:
    """How often each label was read, and how often kept; no label is the empty one."""
    before, after = Counter(label or "" for label in read), Counter(label or "" for label in kept)
    return {label: {"read": before[label], "kept": after[label]} for label in sorted(before)}


def chars(messages: Iterable[Message]) -> int:
    """Characters of all messages."""
    return sum(len(message.content) for message in messages)


@cache
def _edges() -> tuple[int, ...]:
    return bins(PER_DOUBLING)
