"""A model spread over all workers, and its optimizer: FSDP2 or DeepSpeed's ZeRO, behind one interface."""

from __future__ import annotations

from pathlib import Path

import torch

from ochat_ray.config import TrainConfig
from ochat_ray.train.strategies.base import Strategy

__all__ = ["Strategy", "make_strategy"]


def make_strategy(
    config: TrainConfig, base: Path, device: torch.device, dtype: torch.dtype, *, accumulate: int
) -> Strategy:
    """The strategy of `config` over the base model, with its weights read.

    `dtype`: of the forward and backward pass. `accumulate`: backward passes of a worker in a step. Every
    worker must call this. Raises CheckpointError, on some or all workers, where the base model cannot
    be trained, ConfigError where the strategy's package is not there or its own settings contradict.
    """
    if config.strategy == "fsdp2":
        from ochat_ray.train.strategies.fsdp2 import Fsdp2

        return Fsdp2(config, base, device, dtype)
    from ochat_ray.train.strategies.zero import Zero

    return Zero(config, base, device, dtype, accumulate=accumulate)
