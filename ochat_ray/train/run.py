"""`train`: checks, one Ray Train run, and the exported model folder."""

from __future__ import annotations

import functools
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ochat_ray import metrics
from ochat_ray.config import Recipe
from ochat_ray.errors import OchatError
from ochat_ray.exported import load_exported, write_chat_files
from ochat_ray.manifest import manifest_hash
from ochat_ray.progress import say
from ochat_ray.storage import is_remote
from ochat_ray.train import log
from ochat_ray.train.card import write_card
from ochat_ray.train.folders import Folders
from ochat_ray.train.identity import claimed, identify
from ochat_ray.train.inputs import PLAN, input_files, make_inputs
from ochat_ray.train.packing import Plan
from ochat_ray.train.placement import Need, find_need, waiting
from ochat_ray.train.prepared import Prepared
from ochat_ray.train.push import push
from ochat_ray.train.tokens import Tokens
from ochat_ray.train.watch import trackers
from ochat_ray.train.watch.follow import follow

RESIZE_S = 30.0  # between looks for nodes that came, of an elastic run
# What libraries say while they start; the first two are about nothing that a user could change.
WORKER_ENVIRONMENT = {
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "GLOG_minloglevel": "2",
    "TRANSFORMERS_VERBOSITY": "error",
}


@dataclass(frozen=True)
class TrainResult:
    """What a run came to. Losses are weighted means over a step; `seconds` those of the last start."""

    model: Path
    steps: int
    tokens: int
    target_tokens: int
    first_loss: float
    last_loss: float
    eval_loss: float | None
    seconds: float


def train(data: str | Path, base: Path, output: Path, recipe: Recipe) -> TrainResult:
    """Fine-tune `base` on the prepared folder `data` (path or URI); writes `output`/model. Needs Ray.

    The same call on the same output resumes an unfinished run and recognises a finished one; the number
    of workers may differ. Raises DataError, CheckpointError or ConfigError naming file, value and remedy
    where inputs do not fit together or `output` holds something else.
    """
    trackers.check(recipe.train.track)
    recipe = _anywhere(recipe)
    base, folders = base.resolve(), Folders(output.resolve())
    prepared = Prepared.open(data, base, recipe.model_type)
    with claimed(folders, identify(recipe, prepared.template, prepared.manifest, base)):
        if folders.model.exists():
            result = _finished(folders)
        else:
            result = _run(prepared, base, folders, recipe)
            _publish(folders, prepared, recipe, result)
        if recipe.train.export.push_to is not None:
            push(folders.model, recipe.train.export.push_to)
        return result


def _anywhere(recipe: Recipe) -> Recipe:
    """The recipe with paths that do not depend on the working folder: workers have others."""
    train, checkpoint = recipe.train, recipe.train.checkpoint
    if checkpoint.folder is not None and not is_remote(checkpoint.folder):
        checkpoint = checkpoint.replace(folder=str(Path(checkpoint.folder).resolve()))
    own = None if train.deepspeed is None else str(Path(train.deepspeed).resolve())
    kind = recipe.model_type
    if kind.endswith((".yaml", ".yml")):
        kind = str(Path(kind).resolve())
    return recipe.replace(model_type=kind, train=train.replace(checkpoint=checkpoint, deepspeed=own))


def _run(prepared: Prepared, base: Path, folders: Folders, recipe: Recipe) -> TrainResult:
    make_inputs(prepared, base, folders, recipe.train)
    need = find_need(recipe.train)
    train = folders.tokens / "train"
    plan, tokens = Plan.load(train / PLAN), Tokens.load(input_files(train))
    began = time.monotonic()
    try:
        _fit(base, folders, recipe, plan, need)
    except Exception:  # not an interrupt
        metrics.FAILURES.add(1, run=str(folders.output))
        raise
    seconds = time.monotonic() - began
    losses = log.read(folders.losses)
    steps = [entry for entry in losses if "loss" in entry]
    if not steps:
        raise OchatError(f"{folders.losses}: every step was left out; lower train.learning_rate")
    return TrainResult(
        model=folders.model,
        steps=plan.steps,
        tokens=int(tokens.lengths_N.sum()) * recipe.train.epochs,
        target_tokens=int(tokens.targets_N.sum()) * recipe.train.epochs,
        first_loss=steps[0]["loss"],
        last_loss=steps[-1]["loss"],
        eval_loss=next((entry["eval_loss"] for entry in reversed(losses) if "eval_loss" in entry), None),
        seconds=seconds,
    )


def _finished(folders: Folders) -> TrainResult:
    shutil.rmtree(folders.tokens, ignore_errors=True)  # a kill may have come before the end of _publish
    training = load_exported(folders.model).facts["training"]
    result = TrainResult(model=folders.model, **training)
    say(
        f"train: {folders.output} is finished already ({result.steps:,} steps, loss {result.last_loss:.4f}); "
        "give another output folder to train again"
    )
    return result


def _train_worker(settings: dict[str, Any]) -> Any:
    """Only workers need to import transformers, not this process nor Ray Train's controller."""
    from ochat_ray.train.loop import train_worker

    return train_worker(settings)


def _fit(base: Path, folders: Folders, recipe: Recipe, plan: Plan, need: Need) -> None:
    """Run the workers to the end of the plan, from the last checkpoint where there is one.

    Raises KeyboardInterrupt where the run was stopped and has written a last checkpoint.
    """
    from ray.train import (
        FailureConfig,
        LoggingConfig,
        RunConfig,
        ScalingConfig,
        TrainingFailedError,
    )
    from ray.train.torch import TorchConfig, TorchTrainer

    config = recipe.train
    folders.stop.unlink(missing_ok=True)
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={
            "recipe": recipe.model_dump(mode="json"),
            "base": str(base),
            "output": str(folders.output),
        },
        # Checkpoints are agreed on over gloo, beside what the GPUs are doing.
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if need.gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=need.workers if need.least == need.workers else (need.least, need.workers),
            use_gpu=need.gpu,
            resources_per_worker=need.each,
            elastic_resize_monitor_interval_s=RESIZE_S,
        ),
        run_config=RunConfig(
            name=folders.run.name,
            storage_path=str(folders.output),
            failure_config=FailureConfig(max_failures=config.max_failures),
            worker_runtime_env={"env_vars": WORKER_ENVIRONMENT},
            # What failed is told below, in a line; the rest is Ray Train talking about itself.
            logging_config=LoggingConfig(log_level="CRITICAL"),
        ),
    )
    say(f"train: starting {need}")
    try:
        result = follow(
            trainer.fit, folders, recipe, steps=plan.steps, waiting=functools.partial(waiting, need)
        )
    except TrainingFailedError as error:
        details = folders.output / "error.txt"
        details.write_text(f"{error}\n", encoding="utf-8")
        raise OchatError(
            f"{folders.output}: training failed and did not recover, see {details}; "
            "the same command goes on from the last checkpoint"
        ) from error
    if isinstance(result.return_value, OchatError):
        raise result.return_value
    if result.return_value is not None:  # stopped, after a last checkpoint
        raise KeyboardInterrupt


def _publish(folders: Folders, prepared: Prepared, recipe: Recipe, result: TrainResult) -> None:
    """Complete the exported folder; `model` appears whole."""
    training = {name: value for name, value in asdict(result).items() if name != "model"}
    facts = {
        "recipe": recipe.model_dump(mode="json"),
        "data_manifest_hash": manifest_hash(prepared.manifest),
        "training": training,
    }
    write_card(folders, prepared.template.model_type, recipe, prepared.manifest, training)
    write_chat_files(folders.exporting, prepared.template, facts)
    folders.exporting.rename(folders.model)
    shutil.rmtree(folders.tokens)
