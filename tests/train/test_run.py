"""Whole runs through Ray Train: what they compute, that they survive, and what they refuse."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from transformers import AutoModelForCausalLM, MambaConfig

from ochat_ray.config import CheckpointConfig, Recipe
from ochat_ray.errors import CheckpointError, OchatError
from ochat_ray.exported import load_exported
from ochat_ray.manifest import read_manifest
from ochat_ray.model_types import load_model_type
from ochat_ray.storage import storage
from ochat_ray.template import ChatTemplate
from ochat_ray.train import log
from ochat_ray.train.batch import pack
from ochat_ray.train.flops import Size
from ochat_ray.train.packing import make_plan
from ochat_ray.train.run import TrainResult, train
from ochat_ray.train.schedule import learning_rate
from ochat_ray.train.tokens import Tokens, token_files
from tests.train.runs import (
    attempts,
    kill_one_worker,
    last_step,
    registered_step,
    start_driver,
    training_workers,
)
from tests.train.whole import whole_model
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("ray_cluster")


def log_of(result: TrainResult) -> list[dict[str, Any]]:
    return log.read(result.model.parent / "losses.jsonl")


def losses_of(result: TrainResult) -> list[float]:
    return [entry["loss"] for entry in log_of(result) if "loss" in entry]


def test_logs_every_step_once_and_learns(finished: TrainResult, recipe: Recipe) -> None:
    steps = [entry for entry in log_of(finished) if "loss" in entry]
    assert [entry["step"] for entry in steps] == list(range(1, finished.steps + 1))
    assert steps[-1]["epoch"] == recipe.train.epochs
    assert sum(entry["tokens"] for entry in steps) == finished.tokens
    assert finished.first_loss == steps[0]["loss"] > 5
    assert finished.last_loss == steps[-1]["loss"] < 0.5 * finished.first_loss
    assert finished.eval_loss is not None and finished.eval_loss < finished.first_loss
    assert 0 < finished.target_tokens < finished.tokens


def tokens_of(data: Path, recipe: Recipe, split: str) -> Tokens:
    manifest = read_manifest(data, remedy="")
    names = token_files(storage(data), manifest, load_model_type(recipe.model_type), split)
    return Tokens.load([data / name for name in names])


def test_computes_what_a_plain_loop_computes(
    finished: TrainResult, data: Path, base: Path, recipe: Recipe
) -> None:
    config = recipe.train
    tokens = tokens_of(data, recipe, "train")
    plan = make_plan(
        tokens.lengths_N,
        max_tokens=config.max_tokens,
        bins_per_step=config.bins_per_step,
        epochs=config.epochs,
        seed=config.seed,
        attention_cost=Size.of(base).attention_cost,
    )
    model = whole_model(base, config)
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=config.betas, eps=config.eps, weight_decay=config.weight_decay
    )
    losses = []
    for step in range(10):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, 1e-2, step, plan.steps)
        divisor = sum(float(tokens.target_weights_N[i]) for i in plan.step(step))
        loss = model(pack(tokens, plan.step(step), np.ones(len(plan.step(step)))), divisor)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses_of(finished)[:10] == pytest.approx(losses, abs=1e-5)


def test_exports_the_weights_of_the_last_checkpoint_bit_for_bit(
    finished: TrainResult, tmp_path: Path
) -> None:
    last = sorted((finished.model.parent / "checkpoints").glob("step-*/"))[-1]
    dcp_to_torch_save(last, tmp_path / "whole.pt")
    trained = torch.load(tmp_path / "whole.pt")
    exported = load_file(finished.model / "model.safetensors")
    assert {f"weight.{name}" for name in exported} == {name for name in trained if name.startswith("weight.")}
    for name, weight in exported.items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, trained[f"weight.{name}"])


def test_the_export_loads_in_transformers_and_knows_its_template(
    finished: TrainResult, template: ChatTemplate, recipe: Recipe, data: Path
) -> None:
    exported = load_exported(finished.model)
    assert exported.template.hash == template.hash
    assert exported.facts["recipe"] == recipe.model_dump(mode="json")
    assert exported.facts["training"]["last_loss"] == finished.last_loss
    tokens = tokens_of(data, recipe, "eval")
    model = AutoModelForCausalLM.from_pretrained(finished.model)
    loss = 0.0
    for index in range(len(tokens)):
        batch = pack(tokens, np.array([index]), np.ones(1))
        with torch.no_grad():
            logits = model(batch.input_ids_T[None]).logits[0]
        costs = torch.nn.functional.cross_entropy(logits, batch.labels_T, reduction="none")
        loss += float((costs * batch.weights_T).sum())
    assert loss / tokens.target_weights_N.sum() == pytest.approx(finished.eval_loss, abs=1e-5)


def test_a_killed_worker_is_replaced_and_nothing_changes(
    finished: TrainResult, data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(train, data, base, output, recipe)
        wait_for(lambda: running.done() or registered_step(output), what="checkpoint")
        registered, killed_at = registered_step(output), last_step(output)
        kill_one_worker()
        result = running.result()
    assert killed_at < finished.steps
    first, second = attempts(output)
    assert first == {"step": 0, "workers": 2}
    assert second["workers"] == 2 and second["step"] >= registered > 0
    assert log_of(result) == log_of(finished)


def test_a_killed_driver_is_resumed_by_the_same_call_with_more_workers(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    # Long enough that one worker is still at it when a second start has found the output in use.
    long = recipe.replace(train=recipe.train.replace(epochs=20))
    finished = train(data, base, tmp_path / "whole", long)
    output = tmp_path / "out"
    alone = long.replace(train=long.train.replace(num_workers=1))
    driver = start_driver(data, base, output, alone)
    try:
        wait_for(lambda: driver.poll() is not None or registered_step(output), what="checkpoint")
        with pytest.raises(CheckpointError, match="another `train` is at work"):
            train(data, base, output, long)
    finally:
        workers = training_workers(driver.pid)
        driver.kill()
        driver.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), what="end of the workers")
    assert not (output / "model").exists()
    assert 0 < last_step(output) < finished.steps
    registered = registered_step(output)
    result = train(data, base, output, long)
    assert attempts(output) == [{"step": 0, "workers": 1}, {"step": registered, "workers": 2}]
    assert [entry["step"] for entry in log_of(result)] == [entry["step"] for entry in log_of(finished)]
    assert losses_of(result)[:20] == pytest.approx(losses_of(finished)[:20], rel=1e-6)
    # The order of sums differs with the number of workers, and later steps build on the difference.
    assert losses_of(result)[:80] == pytest.approx(losses_of(finished)[:80], abs=1e-5)
    assert losses_of(result) == pytest.approx(losses_of(finished), abs=1e-3)


def test_a_finished_run_is_recognised(
    finished: TrainResult, data: Path, base: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    written = (finished.model / "model.safetensors").stat().st_mtime_ns
    tokens = finished.model.parent / "tokens"  # left where a kill came just after the model appeared
    tokens.mkdir()
    assert train(data, base, finished.model.parent, recipe) == finished
    assert (finished.model / "model.safetensors").stat().st_mtime_ns == written
    assert not tokens.exists()
    assert "finished already" in capsys.readouterr().err


def test_a_model_that_cannot_be_packed_is_refused_in_one_line(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    source = tmp_path / "mamba"
    config = MambaConfig(vocab_size=400, hidden_size=16, num_hidden_layers=1, state_size=4)
    AutoModelForCausalLM.from_config(config).save_pretrained(source)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (source / name).write_bytes((base / name).read_bytes())
    alone = recipe.replace(train=recipe.train.replace(num_workers=1))
    with pytest.raises(CheckpointError, match=r"MambaForCausalLM: .*apart") as raised:
        train(data, source, tmp_path / "out", alone)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "model").exists()


def test_a_run_that_diverges_stops_before_it_is_saved(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    often = CheckpointConfig(every_steps=1)
    wild = recipe.train.replace(learning_rate=1e30, warmup_ratio=0.0, checkpoint=often, max_failures=0)
    with pytest.raises(OchatError, match=r"step \d+: loss .* at learning rate \S+: .*train\.learning_rate"):
        train(data, base, tmp_path / "out", recipe.replace(train=wild))
    logged = log.read(tmp_path / "out/losses.jsonl")
    assert all(math.isfinite(entry["loss"]) for entry in logged if "loss" in entry)
    assert registered_step(tmp_path / "out") == last_step(tmp_path / "out")
    assert not (tmp_path / "out/model").exists() and len(attempts(tmp_path / "out")) == 1


def test_steps_that_diverge_are_left_out_and_named(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    wild = recipe.train.replace(learning_rate=1e30, warmup_ratio=0.0, divergence="skip", epochs=1)
    result = train(data, base, tmp_path / "out", recipe.replace(train=wild))
    first, *others = [entry for entry in log_of(result) if "epoch" in entry]
    assert first["loss"] == result.first_loss == result.last_loss
    assert len(others) == result.steps - 1 > 3
    for entry in others:
        assert entry["skipped"] == "loss nan" and "loss" not in entry
        assert set(entry["samples"]) <= {f"{part}-{n}" for part in range(2) for n in range(36)}
        assert entry["samples"]


def test_the_model_card_says_what_it_is_made_of(finished: TrainResult) -> None:
    card = (finished.model / "README.md").read_text()
    assert card.startswith('---\nlibrary_name: "transformers"\n')
    assert f"| steps | {finished.steps} in 5 epochs, 4 bins of 128 tokens each |" in card
    assert f"{finished.eval_loss:.4f}" in card and "| conversations | 75 |" in card
    assert "learning_rate: 0.01" in card and "18888" not in card


def test_the_output_says_which_run_it_holds(finished: TrainResult) -> None:
    identity = json.loads((finished.model.parent / "run.json").read_text())
    assert identity["train.learning_rate"] == 1e-2
    assert "train.num_workers" not in identity
