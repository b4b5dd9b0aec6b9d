"""The note of the progress line."""

from __future__ import annotations

from ochat_ray.train.watch.line import note
from tests.train.watch.runs import speed_line, step_line


def test_a_step_on_a_gpu() -> None:
    record = step_line(4) | speed_line(4, tokens_per_s=51234.5, mfu=0.4712, memory_gb=61.04)
    assert note(record | {"eval_loss": 0.75}, 3) == (
        "epoch 2/3, loss 0.5000, 51,234 tokens/s, lr 4.00e-05, grad 0.50, MFU 47.1%, packed 99.0%, 61.0 GB, "
        "held-out 0.7500"
    )


def test_only_what_is_known_is_shown() -> None:
    assert note({"step": 1, "epoch": 1, "learning_rate": 1e-5}, 3) == "epoch 1/3, lr 1.00e-05"
