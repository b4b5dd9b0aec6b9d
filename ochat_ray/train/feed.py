"""What a worker is fed: token rows, the plan that says which of them make which step, and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ochat_ray.train.batch import PackedBatch, pack
from ochat_ray.train.inputs import PLAN, input_files
from ochat_ray.train.packing import Plan
from ochat_ray.train.tokens import Tokens

Weighting = Literal["token", "sequence", "class"]


@dataclass(frozen=True)
class Feed:
    """`weighting` scales the loss weights of whole rows, as `train.weighting` says."""

    tokens: Tokens
    plan: Plan
    weighting: Weighting

    @classmethod
    def load(cls, folder: Path, weighting: Weighting) -> Feed:
        """What `make_inputs` wrote for a split that has rows."""
        return cls(Tokens.load(input_files(folder)), Plan.load(folder / PLAN), weighting)

    @cached_property
    def scales_N(self) -> NDArray[np.float64]:
        """Factor on the weights of each row, float64."""
        targets_N = self.tokens.target_weights_N
        if self.weighting == "sequence":
            return np.divide(1.0, targets_N, out=np.zeros_like(targets_N), where=targets_N > 0)
        if self.weighting == "class":
            numbers_N = self.tokens.classes.numbers_N
            counts = np.bincount(numbers_N)
            return (len(numbers_N) / counts)[numbers_N]
        return np.ones_like(targets_N)

    @cached_property
    def weights_N(self) -> NDArray[np.float64]:
        """Loss weight of each row, over all its tokens, float64."""
        return self.tokens.target_weights_N * self.scales_N

    def pack(self, step: int, index: int) -> PackedBatch:
        """Bin `index` of a step; of one token without weight where the step has no such bin.

        A worker without a bin must still take part in every collective operation of a step.
        """
        rows = self.rows(step, index)
        return pack(self.tokens, rows, self.scales_N[rows])

    def rows(self, step: int, index: int) -> NDArray[np.int64]:
        """Which rows bin `index` of a step holds, in their order in it."""
        if index >= self.plan.bins_per_step:
            return np.zeros(0, np.int64)
        return self.plan.bin(step, index)

    def divisor(self, step: int) -> float:
        """Target weight of a step over all workers; 1 where nothing in it carries loss."""
        return float(self.weights_N[self.plan.step(step)].sum()) or 1.0

    @property
    def targets_per_step(self) -> float:
        """Tokens that carry loss, in a step over all workers, on average."""
        return float(self.tokens.targets_N[self.plan.order].sum()) / self.plan.steps

    def step_tokens(self, step: int) -> int:
        """Tokens of a step over all workers."""
        return int(self.tokens.lengths_N[self.plan.step(step)].sum())

    def step_targets(self, step: int) -> int:
        """Tokens of a step that carry loss, over all workers."""
        return int(self.tokens.targets_N[self.plan.step(step)].sum())
