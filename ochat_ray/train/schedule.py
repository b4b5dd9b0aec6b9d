"""The learning rate: its peak, and the way there and down."""

from __future__ import annotations

import math

from ochat_ray.config import TrainConfig

# The hyperparameters of LLaMA's pretraining (Touvron et al. 2023): a rate for a batch of so many tokens.
BASE_RATE = 3e-4
BASE_TARGETS = 4e6
# Mistral's weights want smaller steps; the divisor is that of OpenChat's trainer.
DIVISORS = {"mistral": 6.0}


def peak_rate(config: TrainConfig, architecture: str, targets_per_step: float) -> float:
    """`config.learning_rate`; where it is `auto`, the rate of LLaMA's pretraining scaled by the square root
    of the batch, in tokens that carry loss (OpenChat's rule). `architecture`: a config's `model_type`."""
    if config.learning_rate != "auto":
        return config.learning_rate
    return BASE_RATE / DIVISORS.get(architecture, 1.0) * math.sqrt(targets_per_step / BASE_TARGETS)


def learning_rate(config: TrainConfig, peak: float, step: int, steps: int) -> float:
    """Of step `step` (from 0) of `steps`: linear warm-up to `peak`, then `config.schedule` down to the
    minimum just after the last step, which so learns something even where that is zero."""
    warmup = math.ceil(config.warmup_ratio * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / (steps - warmup)
    left = {"constant": 1.0, "linear": 1 - share, "cosine": 0.5 * (1 + math.cos(math.pi * share))}
    floor = config.min_learning_rate_ratio
    return peak * (floor + (1 - floor) * left[config.schedule])
