"""What there is to compute: a packing plan in figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ochat_ray.train.flops import Size
from ochat_ray.train.packing import Ints, Plan


@dataclass(frozen=True)
class Work:
    """All epochs of a run; tokens, and operations without those done twice.

    `conversations`: of one epoch. `targets`: tokens that carry loss. `longest`: tokens of the longest
    conversation. `efficiency`: share of the bins' capacity that holds tokens. `slowest`: operations of a
    worker that always gets the dearest of the bins that are computed at the same time.
    """

    conversations: int
    longest: int
    epochs: int
    steps: int
    tokens: int
    targets: int
    efficiency: float
    flops: float
    slowest: float
    workers: int

    @property
    def balance(self) -> float:
        """Share of the workers' time in which they do not wait for the slowest."""
        return self.flops / (self.workers * self.slowest)

    @classmethod
    def of(
        cls, plan: Plan, lengths_N: Ints, targets: int, size: Size, *, max_tokens: int, workers: int
    ) -> Self:
        """Of a plan over conversations of these lengths, of which `targets` tokens carry loss."""
        epochs, bins = len(plan.epoch_ends), plan.bins_per_step
        costs = np.concatenate([[0.0], size.conversation_flops(lengths_N)[plan.order].cumsum()])
        flops = np.diff(costs[plan.bounds]).reshape(plan.steps, bins)
        # Worker r computes bins r, r + workers, ...; each time all wait for the slowest.
        rounds = np.pad(flops, ((0, 0), (0, -bins % workers))).reshape(plan.steps, -1, workers)
        tokens = int(lengths_N.sum()) * epochs
        return cls(
            conversations=len(lengths_N),
            longest=int(lengths_N.max()),
            epochs=epochs,
            steps=plan.steps,
            tokens=tokens,
            targets=targets * epochs,
            efficiency=tokens / (plan.steps * bins * max_tokens),
            flops=float(flops.sum()),
            slowest=float(rounds.max(-1).sum()),
            workers=workers,
        )
