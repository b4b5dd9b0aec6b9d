"""What every strategy offers the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ochat_ray.train.batch import PackedBatch
from ochat_ray.train.model import PackedModel, parameters

MOMENTS = ("exp_avg", "exp_avg_sq")


class Strategy(ABC):
    """A model and AdamW over all workers. Every worker calls every method, in the same order.

    Losses are already divided by the whole step's target weight, so gradients are summed over workers,
    never averaged.
    """

    model: PackedModel

    @abstractmethod
    def loss(self, batch: PackedBatch, divisor: float) -> torch.Tensor:
        """`PackedModel.forward` for training; its result goes to `backward` next."""

    @abstractmethod
    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Add to the gradients; `last`: of this step."""

    @abstractmethod
    def step(self, rate: float, accept: Callable[[float], bool]) -> float:
        """Clip, update at learning rate `rate` and clear the gradients; the gradient's norm before clipping.

        Where the norm is known before the update and `accept(norm)` is false, nothing is updated.
        """

    @abstractmethod
    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint holds of this worker: `weight.NAME`, `exp_avg.NAME` and `exp_avg_sq.NAME` of
        trained weights, float32, sharded, or whole on one worker each. Every strategy can load any other's.
        """

    @abstractmethod
    def load(self, folder: Path, updates: int) -> None:
        """Take over the checkpoint's state after so many updates, saved by any strategy and worker count."""

    @abstractmethod
    def whole(self, weight: torch.nn.Parameter) -> torch.Tensor:
        """All of a weight, float32."""

    def evaluated(self) -> None:  # noqa: B027  (most have nothing to do)
        """To be called after forward passes without a backward pass."""

    def named(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """The model's weights by their names in a Hugging Face folder."""
        return parameters(self.model)

    def trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Those that are trained."""
        return ((name, weight) for name, weight in self.named() if weight.requires_grad)
