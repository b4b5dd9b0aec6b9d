"""Learning rates."""

from __future__ import annotations

import pytest

from ochat_ray.config import TrainConfig
from ochat_ray.train.schedule import learning_rate, peak_rate


@pytest.mark.parametrize(
    ("schedule", "middle", "last"),
    [("cosine", 0.557, 0.1002), ("linear", 0.555, 0.109), ("constant", 1.0, 1.0)],
)
def test_rises_and_ends_where_it_should(schedule: str, middle: float, last: float) -> None:
    config = TrainConfig(schedule=schedule, warmup_ratio=0.1, min_learning_rate_ratio=0.1)
    rates = [learning_rate(config, 2.0, step, 111) for step in range(111)]
    assert rates[:12] == pytest.approx([2.0 * n / 12 for n in range(1, 13)])
    assert rates[12] == pytest.approx(2.0)
    assert rates[61] == pytest.approx(2.0 * middle, rel=2e-3)
    assert rates[110] == pytest.approx(2.0 * last, rel=2e-3)


def test_one_step_and_no_warm_up() -> None:
    assert learning_rate(TrainConfig(warmup_ratio=0.0), 1.0, 0, 1) == 1.0


def test_the_automatic_rate_follows_the_root_of_the_batch() -> None:
    auto = TrainConfig(learning_rate="auto")
    assert peak_rate(auto, "llama", 4e6) == pytest.approx(3e-4)
    assert peak_rate(auto, "llama", 1e6) == pytest.approx(1.5e-4)
    assert peak_rate(auto, "mistral", 4e6) == pytest.approx(5e-5)
    assert peak_rate(TrainConfig(learning_rate=1e-5), "mistral", 4e6) == 1e-5
