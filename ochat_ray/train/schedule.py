"""The learning rate of each step: linear warm-up, then a cosine."""

from __future__ import annotations

import math

from ochat_ray.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Of step `step` (from 0) of `steps`. Never zero in the first step, the minimum in the last."""
    warmup = math.ceil(config.warmup_ratio * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(steps - 1 - warmup, 1)
    floor = config.min_learning_rate_ratio
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))
