"""A run goes on from its last whole checkpoint, whoever wrote it and whatever happened to it since."""

from __future__ import annotations

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ochat_ray.config import CheckpointConfig, Recipe
from ochat_ray.train import log
from ochat_ray.train.run import TrainResult, train
from tests.train.runs import attempts, last_step, registered_step, wait_for

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def short(recipe: Recipe) -> Recipe:
    """Some 40 steps."""
    often = CheckpointConfig(every_steps=5)
    return recipe.replace(train=recipe.train.replace(epochs=5, checkpoint=often))


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, data: Path, base: Path, short: Recipe
) -> TrainResult:
    """Two workers, FSDP2."""
    return train(data, base, tmp_path_factory.mktemp("whole") / "out", short)


def losses_of(output: Path) -> list[float]:
    return [entry["loss"] for entry in log.read(output / "losses.jsonl") if "loss" in entry]


def notes_of(output: Path) -> list[str]:
    return [entry["note"] for entry in log.read(output / "notes.jsonl")]


def train_until(step: int, data: Path, base: Path, output: Path, recipe: Recipe) -> None:
    """A start that is told to stop at a step, and does within a few."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(train, data, base, output, recipe)
        wait_for(lambda: running.done() or last_step(output) >= step, what=f"step {step}")
        (output / "stop").touch()
        with pytest.raises(KeyboardInterrupt):
            running.result()
    assert registered_step(output) == last_step(output) >= step


def test_any_strategy_and_number_of_workers_goes_on_from_any_other(
    undisturbed: TrainResult, data: Path, base: Path, short: Recipe, tmp_path: Path
) -> None:
    deepspeed = importlib.util.find_spec("deepspeed") is not None
    output = tmp_path / "out"

    def by(workers: int, strategy: str) -> Recipe:
        return short.replace(train=short.train.replace(num_workers=workers, strategy=strategy))

    train_until(4, data, base, output, by(2, "zero3" if deepspeed else "fsdp2"))
    train_until(12, data, base, output, by(1, "fsdp2"))
    train_until(20, data, base, output, by(3, "zero2" if deepspeed else "fsdp2"))
    result = train(data, base, output, by(2, "fsdp2"))
    assert [start["workers"] for start in attempts(output)] == [2, 1, 3, 2]
    assert [entry["step"] for entry in log.read(output / "losses.jsonl") if "loss" in entry] == [
        *range(1, result.steps + 1)
    ]
    assert losses_of(output) == pytest.approx(losses_of(undisturbed.model.parent), abs=1e-5)


def test_a_damaged_checkpoint_is_passed_over_and_nothing_changes(
    undisturbed: TrainResult, data: Path, base: Path, short: Recipe, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    train_until(11, data, base, output, short)
    before, newest = sorted((output / "checkpoints").iterdir())[-2:]
    shard = newest / "__1_0.distcp"
    os.truncate(shard, shard.stat().st_size - 1)
    (output / "checkpoints" / "step-99999999").mkdir()  # killed while writing
    (output / "checkpoints" / "step-99999999" / "__0_0.distcp").write_bytes(b"half")
    train(data, base, output, short)
    unfinished, cut = notes_of(output)
    assert "step-99999999 is not used: it was not finished" in unfinished
    assert f"{newest.name} is not used: __1_0.distcp has" in cut
    assert attempts(output)[-1] == {"step": int(before.name[-8:]), "workers": 2}
    assert losses_of(output) == losses_of(undisturbed.model.parent)
    kept = sorted((output / "checkpoints").glob("step-*/checkpoint.json"))
    assert len(kept) in (2, 3) and len([*(output / "checkpoints").iterdir()]) == len(kept)
