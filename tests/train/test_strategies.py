"""Every strategy and number of workers computes the same, and goes on from what any other saved."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ochat_ray.config import Recipe
from ochat_ray.train import log
from ochat_ray.train.run import TrainResult, train

pytestmark = pytest.mark.usefixtures("ray_cluster")
STEPS = 20


def needs_deepspeed() -> None:
    if importlib.util.find_spec("deepspeed") is None:  # importing it would cost seconds, and say much
        pytest.skip("needs the extra deepspeed")


def losses_of(output: Path) -> list[float]:
    return [entry["loss"] for entry in log.read(output / "losses.jsonl") if "loss" in entry]


@pytest.mark.parametrize("strategy", [pytest.param("zero1", marks=pytest.mark.slow), "zero2", "zero3"])
def test_deepspeed_computes_what_fsdp2_computes(
    finished: TrainResult, data: Path, base: Path, recipe: Recipe, tmp_path: Path, strategy: str
) -> None:
    needs_deepspeed()
    result = train(
        data, base, tmp_path / "out", recipe.replace(train=recipe.train.replace(strategy=strategy))
    )
    losses = losses_of(tmp_path / "out")
    assert len(losses) >= STEPS and losses == pytest.approx(losses_of(finished.model.parent), abs=1e-5)
    assert result.eval_loss == pytest.approx(finished.eval_loss, abs=1e-5)
    ours, theirs = (load_file(found.model / "model.safetensors") for found in (finished, result))
    assert ours.keys() == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-4
