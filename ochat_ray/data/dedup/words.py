"""Words of many texts as 64-bit hashes, by arithmetic over all their bytes at once.

A word is a run of letters and digits, with ASCII in lower case; every other character of more than one
byte counts as a letter, and each Chinese or Japanese one as a word. The hash of a word is a polynomial of
its bytes modulo 2**64 (Karp and Rabin 1987), mixed; equal on all machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2**64
POWERS = np.cumprod(np.full(32, BASE ^ np.uint64(0x55555555 << 1)), dtype=np.uint64)  # of words in an n-gram
# What each byte adds to the hash of its word; 0 ends words.
LETTERS = np.array(
    [ord(chr(i).lower()) if chr(i).isalnum() else 0 for i in range(128)] + list(range(128, 256)), np.uint8
)
UNSPACED = (0xE3, 0xE9)  # first bytes of U+3000 to U+9FFF in UTF-8
SPACE = b"\n"
BLOCK = 2**16  # bytes hashed at a time, so that the arithmetic stays in the cache


class Words(NamedTuple):
    """Hashes of the words of N texts end to end; text i has those at `offsets[i]:offsets[i + 1]`."""

    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]


def hash_words(texts: Sequence[str]) -> Words:
    """The words of texts, in order."""
    blocks: list[Words] = []
    run: list[bytes] = []
    size = 0
    for text in texts:
        data = text.encode("utf-8", "replace")
        run.append(data)
        size += len(data)
        if size >= BLOCK:
            blocks.append(_hash_block(run))
            run, size = [], 0
    blocks.append(_hash_block(run))
    counts = np.concatenate([np.diff(block.offsets) for block in blocks])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return Words(np.concatenate([block.hashes for block in blocks]), offsets)


def hash_ngrams(words: Words, n: int) -> Words:
    """Hashes of each text's runs of `n` words; a text with fewer words has one run, of all of them."""
    hashes, offsets = words
    counts = np.diff(offsets)
    grams = np.zeros(len(hashes), np.uint64)
    for k in range(min(n, len(hashes))):
        grams[: len(hashes) - k] += hashes[k:] * POWERS[k]
    kept = np.ones(len(hashes), np.bool_)
    for k in range(1, n):  # runs that begin among a text's last words would go on into the next text
        kept[offsets[1:][counts >= k] - k] = False
    for text in np.flatnonzero((counts > 0) & (counts < n)):
        own = hashes[offsets[text] : offsets[text + 1]]
        grams[offsets[text]] = (own * POWERS[: len(own)]).sum(dtype=np.uint64)
        kept[offsets[text]] = True
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    return Words(mix(grams[kept]), before[offsets])


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64 bits in which each bit depends on all (splitmix64's finalizer, Stafford 2011)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hash_block(texts: list[bytes]) -> Words:
    data = np.frombuffer(SPACE + SPACE.join([*texts, b""]), np.uint8)
    letters = LETTERS[data]
    inside = letters != 0
    starts_here = inside.copy()
    starts_here[1:] &= ~inside[:-1]
    ideographs = np.flatnonzero((data >= UNSPACED[0]) & (data <= UNSPACED[1]))
    if len(ideographs):
        starts_here[ideographs] = True
        after = ideographs[ideographs < len(data) - 3] + 3
        starts_here[after] = inside[after]
    borders = np.flatnonzero(starts_here | ~inside)
    is_start = starts_here[borders]
    starts, ends = borders[is_start], borders[1:][is_start[:-1]]  # the last byte is a space
    powers, inverses = _tables(1 << len(data).bit_length())
    sums = np.cumsum(letters * powers[: len(data)], dtype=np.uint64)
    hashes = mix((sums[ends - 1] - sums[starts - 1]) * inverses[starts])
    edges = np.cumsum([1, *(len(text) + 1 for text in texts)])
    return Words(hashes, np.searchsorted(starts, edges).astype(np.int64))


@lru_cache(maxsize=2)
def _tables(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """BASE and its inverse modulo 2**64, to the powers from 0 to `size`."""
    inverse = np.uint64(pow(int(BASE), -1, 2**64))
    return _to_powers(BASE, size), _to_powers(inverse, size)


def _to_powers(base: np.uint64, size: int) -> NDArray[np.uint64]:
    powers: NDArray[np.uint64] = np.cumprod(np.r_[np.uint64(1), np.full(size, base)], dtype=np.uint64)
    return powers
