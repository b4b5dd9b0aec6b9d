"""A run goes on from its last whole checkpoint, whoever wrote it and whatever happened to it since."""

from __future__ import annotations

import importlib.util
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ochat_ray.config import CheckpointConfig, Recipe
from ochat_ray.train import log
from ochat_ray.train.run import TrainResult, train
from tests.train.runs import attempts, last_step, registered_step, start_driver
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("ray_cluster")


def losses_of(output: Path) -> list[float]:
    return [entry["loss"] for entry in log.read(output / "losses.jsonl") if "loss" in entry]


def train_until(step: int, data: Path, base: Path, output: Path, recipe: Recipe) -> None:
    """A start that is told to stop at a step, and does within a few."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(train, data, base, output, recipe)
        wait_for(lambda: running.done() or last_step(output) >= step, what=f"step {step}")
        (output / "stop").touch()
        with pytest.raises(KeyboardInterrupt):
            running.result()
    assert registered_step(output) == last_step(output) >= step


def test_any_strategy_and_number_of_workers_goes_on_from_the_last_whole_one(
    finished: TrainResult, data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    deepspeed = importlib.util.find_spec("deepspeed") is not None
    output = tmp_path / "out"

    def by(workers: int, strategy: str) -> Recipe:
        return recipe.replace(train=recipe.train.replace(num_workers=workers, strategy=strategy))

    train_until(4, data, base, output, by(2, "zero3" if deepspeed else "fsdp2"))
    train_until(11, data, base, output, by(1, "fsdp2"))
    before, newest = sorted((output / "checkpoints").iterdir())[-2:]
    shard = newest / "__0_0.distcp"
    os.truncate(shard, shard.stat().st_size - 1)
    killed = output / "checkpoints" / "step-99999999"
    killed.mkdir()
    (killed / "__0_0.distcp").write_bytes(b"half")
    train_until(20, data, base, output, by(3, "zero2" if deepspeed else "fsdp2"))
    result = train(data, base, output, by(2, "fsdp2"))

    first, second, third, last = attempts(output)
    assert [first["workers"], second["workers"], third["workers"], last["workers"]] == [2, 1, 3, 2]
    assert third["step"] == int(before.name.removeprefix("step-")) > 0
    unfinished, cut = [entry["note"] for entry in log.read(output / "notes.jsonl")]
    assert "step-99999999 is not used: it was not finished" in unfinished
    assert f"{newest.name} is not used: __0_0.distcp has" in cut
    steps = [entry["step"] for entry in log.read(output / "losses.jsonl") if "loss" in entry]
    assert steps == [*range(1, result.steps + 1)]
    assert losses_of(output) == pytest.approx(losses_of(finished.model.parent), abs=1e-5)
    kept = {path.parent.name for path in (output / "checkpoints").glob("step-*/checkpoint.json")}
    assert kept == {path.name for path in (output / "checkpoints").iterdir()} and len(kept) in (2, 3)


def test_sigterm_saves_and_the_next_start_goes_on(
    finished: TrainResult, data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    rarely = recipe.replace(train=recipe.train.replace(checkpoint=CheckpointConfig()))
    driver = start_driver(data, base, output, rarely)
    wait_for(lambda: driver.poll() is not None or last_step(output) >= 2, what="step 2")
    driver.send_signal(signal.SIGTERM)
    said = driver.communicate(timeout=240)[1]
    assert driver.returncode != 0 and "stopping after a last checkpoint" in said
    stopped = registered_step(output)
    assert stopped == last_step(output) < finished.steps
    train(data, base, output, rarely)
    assert [start["step"] for start in attempts(output)] == [0, stopped]
    assert losses_of(output) == losses_of(finished.model.parent)
