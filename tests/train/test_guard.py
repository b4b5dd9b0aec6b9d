"""Which steps are not to be taken."""

from __future__ import annotations

import math

from ochat_ray.config import TrainConfig
from ochat_ray.train.guard import Guard


def test_what_is_no_number_is_a_fault() -> None:
    guard = Guard(TrainConfig(), [])
    assert guard.fault(2.0, 1.0) is None
    assert guard.fault(math.nan) == "loss nan"
    assert guard.fault(2.0, math.inf) == "gradient norm inf"


def test_a_spike_is_judged_by_the_steps_before() -> None:
    guard = Guard(TrainConfig(spike=3.0), [])
    for _ in range(8):
        assert guard.fault(100.0) is None  # too few steps to tell
        guard.passed(2.0)
    assert guard.fault(5.9) is None
    assert guard.fault(6.5) == "loss 6.5, 3.2 times that of the steps before"
    for _ in range(32):
        guard.passed(4.0)
    assert guard.fault(6.5) is None


def test_a_guard_that_starts_with_the_log_judges_as_the_one_that_wrote_it() -> None:
    losses = [3.0 - n / 50 for n in range(60)]
    whole = Guard(TrainConfig(spike=2.0), losses)
    resumed = Guard(TrainConfig(spike=2.0), losses[:30])
    for loss in losses[30:]:
        resumed.passed(loss)
    assert all(whole.fault(loss) == resumed.fault(loss) for loss in (3.0, 4.0, 5.0, 6.0))
