"""Attention of single tokens on a CPU: each reads all keys and values of its request once, at memory speed.

Compiled by numba. torch's own attention reads at less than half that speed, and takes as long to begin as a
short request takes in all.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

LOG2_E = np.float32(1.4426950408889634)
LN_2 = np.float32(0.6931471805599453)
LOWEST = np.float32(-87.0)  # exp of less is 0 in float32
Floats = NDArray[np.float32]


@numba.njit(fastmath=True, nogil=True, cache=True, inline="always")
def _softmax(scores: Floats, power: NDArray[np.int32], scale: Floats) -> np.float32:
    """exp(scores - their maximum) in place, and their sum; `scale` is `power` seen as floats.

    exp as 2^n times a polynomial, which compilers turn into vector instructions, unlike a call.
    """
    top = scores[0]
    for s in range(1, scores.shape[0]):
        top = max(top, scores[s])
    for s in range(scores.shape[0]):
        x = max(scores[s] - top, LOWEST)
        n = np.floor(x * LOG2_E + np.float32(0.5))
        f = x - n * LN_2
        y = np.float32(1 / 5040)
        for coefficient in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
            y = y * f + np.float32(coefficient)
        scores[s] = y
        power[s] = (np.int32(n) + np.int32(127)) << np.int32(23)
    total = np.float32(0)
    for s in range(scores.shape[0]):
        scores[s] *= scale[s]
        total += scores[s]
    return total


@numba.njit(fastmath=True, nogil=True, cache=True)
def attend(
    query: Floats,
    keys: Floats,
    values: Floats,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    scaling: np.float32,
    out: Floats,
) -> None:
    """Attention of N tokens [N H D] over places [start, stop) of a cache [K S D] each, into `out` [N H D].

    All in float32 and contiguous. Releases the interpreter's lock.
    """
    heads, size = query.shape[1], query.shape[2]
    shared = heads // keys.shape[0]
    longest = 0
    for n in range(starts.shape[0]):
        longest = max(longest, stops[n] - starts[n])
    scores = np.empty((shared, longest), np.float32)
    power = np.empty(longest, np.int32)
    scale = power.view(np.float32)
    for n in range(starts.shape[0]):
        start, count = starts[n], stops[n] - starts[n]
        for k in range(keys.shape[0]):
            for s in range(count):
                key = keys[k, start + s]
                for g in range(shared):
                    q = query[n, k * shared + g]
                    dot = np.float32(0)
                    for d in range(size):
                        dot += q[d] * key[d]
                    scores[g, s] = dot * scaling
            for g in range(shared):
                total = _softmax(scores[g, :count], power[:count], scale[:count])
                for s in range(count):
                    scores[g, s] /= total
                row = out[n, k * shared + g]
                for d in range(size):
                    row[d] = 0
            for s in range(count):
                value = values[k, start + s]
                for g in range(shared):
                    share = scores[g, s]
                    row = out[n, k * shared + g]
                    for d in range(size):
                        row[d] += share * value[d]
