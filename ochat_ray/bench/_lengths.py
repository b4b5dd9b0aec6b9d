"""Lengths to pack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def chats(count: int, seed: int = 0, *, context: int = 2048) -> NDArray[np.int64]:
    """Tokens of so many conversations, like those of shared chats: lognormal, median a fifth of the context.

    With 2048 they are those of the first OpenChat: median about 400.
    """
    drawn = np.random.default_rng(seed).lognormal(6, 0.9, count) * (context / 2048)
    return drawn.astype(np.int64).clip(16, context)
