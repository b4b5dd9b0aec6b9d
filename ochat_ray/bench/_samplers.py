"""How OpenChat packed, written anew from what it published: the ideas to compare our plan with.

Both versions cut a random order into steps, by bisection for the longest stretch that fits as many bins
as there are workers. v1 puts the longest conversation first into the first bin with room (first-fit
decreasing) and leaves out what, at the end, needs fewer bins than there are. v2 puts it into the
bin with the fewest tokens (longest processing time) and leaves out only what has fewer conversations
than there are bins. Both are compiled where numba is installed, as the originals are.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Place = Callable[[Ints, int, int], Ints]

COMPILED = importlib.util.find_spec("numba") is not None


def _compiled(function: Callable[..., Any]) -> Any:
    if not COMPILED:
        return function
    import numba

    return numba.njit(function)


@_compiled
def first_fit(sizes: Ints, capacity: int, bins: int) -> Ints:
    """The bin of each size, given highest first; none at all where one fits nowhere."""
    room = np.full(bins, capacity)
    places = np.zeros(len(sizes), np.int64)
    for index, size in enumerate(sizes):
        place = 0
        while place < bins and room[place] < size:
            place += 1
        if place == bins:
            return places[:0]
        room[place] -= size
        places[index] = place
    return places


@_compiled
def emptiest(sizes: Ints, capacity: int, bins: int) -> Ints:
    """The bin of each size, given highest first; none at all where one fits nowhere."""
    used = np.zeros(bins, np.int64)
    places = np.zeros(len(sizes), np.int64)
    for index, size in enumerate(sizes):
        place = used.argmin()
        if used[place] + size > capacity:
            return places[:0]
        used[place] += size
        places[index] = place
    return places


@_compiled
def steps(lengths: Ints, capacity: int, bins: int, place: Place, count_bins: bool) -> Ints:
    """The number of each length's bin over all steps, -1 where it is left out.

    The end of the order is left out if its bins (`count_bins`), or its conversations, are fewer than `bins`.
    """
    numbers = np.full(len(lengths), -1)
    ends = np.concatenate((np.zeros(1, np.int64), lengths.cumsum()))
    start = first = 0
    while start < len(lengths):
        fits, over = 1, np.searchsorted(ends, ends[start] + capacity * bins, side="right") - start
        while over - fits > 1:
            middle = (fits + over) // 2
            if len(place(np.sort(lengths[start : start + middle])[::-1], capacity, bins)):
                fits = middle
            else:
                over = middle
        chosen = start + np.argsort(-lengths[start : start + fits])
        places = place(lengths[chosen], capacity, bins)
        if (places.max() + 1 if count_bins else fits) < bins:
            break
        numbers[chosen] = first + places
        start += fits
        first += bins
    return numbers


def openchat_v1(lengths: Ints, max_tokens: int, bins: int) -> Ints:
    """The bin of each length, -1 where it is dropped: first-fit decreasing."""
    numbers: Ints = steps(lengths, max_tokens, bins, first_fit, True)
    return numbers


def openchat_v2(lengths: Ints, max_tokens: int, bins: int) -> Ints:
    """The bin of each length, -1 where it is dropped: longest processing time."""
    numbers: Ints = steps(lengths, max_tokens, bins, emptiest, False)
    return numbers
