"""Steps that must not be taken: a loss or a gradient that is no number, or a loss that jumps."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable

from ochat_ray.config import TrainConfig

WINDOW = 32
ENOUGH = 8  # losses before which none is called a spike: the first steps fall fast


class Guard:
    """Judges each step's loss by those before it. The same losses give the same verdicts on every worker."""

    def __init__(self, config: TrainConfig, losses: Iterable[float]) -> None:
        self.spike = config.spike
        self.losses = deque(losses, WINDOW)

    def fault(self, loss: float, norm: float = 0.0) -> str | None:
        """What is wrong with a step of this loss and gradient norm, or None."""
        if not math.isfinite(loss):
            return f"loss {loss:g}"
        if not math.isfinite(norm):
            return f"gradient norm {norm:g}"
        if self.spike is not None and len(self.losses) >= ENOUGH:
            usual = statistics.median(self.losses)
            if loss > self.spike * usual:
                return f"loss {loss:.4g}, {loss / usual:.2g} times that of the steps before"
        return None

    def passed(self, loss: float) -> None:
        """Note the loss of a step that was taken."""
        self.losses.append(loss)
