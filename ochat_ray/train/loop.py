"""What every Ray Train worker runs."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from transformers.utils.logging import disable_progress_bar

from ochat_ray.config import Recipe, TrainConfig
from ochat_ray.errors import ConfigError, OchatError
from ochat_ray.train import checkpoint, export, log
from ochat_ray.train.batch import pack
from ochat_ray.train.folders import Folders
from ochat_ray.train.fsdp import reshard, shard
from ochat_ray.train.inputs import has_rows, input_files
from ochat_ray.train.isolation import check_isolation
from ochat_ray.train.model import PackedModel, load_model
from ochat_ray.train.packing import Plan
from ochat_ray.train.schedule import learning_rate
from ochat_ray.train.together import together
from ochat_ray.train.tokens import Tokens


@dataclass(frozen=True)
class Feed:
    """Token rows and the plan that says which of them make which step."""

    tokens: Tokens
    plan: Plan

    @classmethod
    def load(cls, folder: Path) -> Feed:
        """What `make_inputs` wrote for a split that has rows."""
        return cls(Tokens.load(input_files(folder)), Plan.load(folder / "plan.npz"))

    def step_tokens(self, step: int) -> int:
        """Tokens of a step over all workers."""
        return int(self.tokens.lengths_N[self.plan.step(step)].sum())

    def divisor(self, step: int) -> float:
        """Target weight of a step over all workers; 1 where nothing in it carries loss."""
        return float(self.tokens.target_weights_N[self.plan.step(step)].sum()) or 1.0


@dataclass(frozen=True)
class Worker:
    """One worker's place in the group, and its model."""

    config: TrainConfig
    rank: int
    world_size: int
    device: torch.device
    model: PackedModel
    optimizer: torch.optim.Optimizer


def train_worker(settings: dict[str, Any]) -> OchatError | None:
    """Train to the end of the plan and export. Returns an error that only a user can mend.

    Such an error is returned, not raised: Ray Train would start the workers again in vain.
    """
    try:
        _train(Recipe.model_validate(settings["recipe"]), Path(settings["base"]), Folders(settings["output"]))
    except OchatError as error:
        return error
    return None


def _train(recipe: Recipe, base: Path, folders: Folders) -> None:
    worker = _start(recipe.train, base)
    feed = Feed.load(folders.tokens / "train")
    held_out = Feed.load(folders.tokens / "eval") if has_rows(folders.tokens / "eval") else None
    cursor = checkpoint.resume(worker.model, worker.optimizer, feed.plan.hash)
    done = cursor.step if cursor else 0
    if worker.rank == 0:
        log.truncate(folders.losses, done)
        log.append(folders.attempts, [{"step": done, "workers": worker.world_size}])
    for step in range(done, feed.plan.steps):
        entries = [_step(worker, feed, step)]
        due = (step + 1) % (worker.config.checkpoint.every_steps or 100) == 0 or step + 1 == feed.plan.steps
        if due and held_out:
            entries.append({"step": step + 1, "eval_loss": _evaluate(worker, held_out)})
        if worker.rank == 0:
            log.append(folders.losses, entries)
        if due:
            here = checkpoint.Cursor(step + 1, feed.plan.epoch(step), feed.plan.hash)
            checkpoint.save(worker.model, worker.optimizer, here)
    export.write_weights(worker.model, base, folders.exporting)


def _start(config: TrainConfig, base: Path) -> Worker:
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    torch.set_num_threads(config.threads)
    # One of Ray Train's loggers lies outside its own log level and tells every checkpoint.
    logging.getLogger().setLevel(logging.WARNING)
    disable_progress_bar()
    with together():
        dtype = forward_dtype(config, device)
        model = load_model(base, activation_checkpointing=config.activation_checkpointing)
    shard(model, device, world_size, dtype)
    with together():
        check_isolation(model, device, dtype)
    reshard(model)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=float(config.learning_rate),
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
    )
    return Worker(config, rank, world_size, device, model, optimizer)


def forward_dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """Of the forward and backward pass. Raises ConfigError for one that the device's attention lacks."""
    if config.dtype == "float32" and device.type == "cuda":
        raise ConfigError(
            "train.dtype = float32: attention in packs on GPUs takes half precision only; set train.dtype to "
            "bfloat16 or auto (weights and optimizer stay float32), or train.use_gpu=false"
        )
    if config.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[config.dtype]


def _step(worker: Worker, feed: Feed, step: int) -> dict[str, Any]:
    """One optimizer step; returns its log line. Raises OchatError, on every worker, if the run diverged."""
    config, model = worker.config, worker.model
    rate = learning_rate(config, float(config.learning_rate), step, feed.plan.steps)
    for group in worker.optimizer.param_groups:
        group["lr"] = rate
    divisor = feed.divisor(step)
    loss_sum = torch.zeros((), device=worker.device)
    for index in range(worker.rank, config.bins_per_step, worker.world_size):
        batch = pack(feed.tokens, feed.plan.bin(step, index)).to(worker.device)
        loss = model(batch, divisor)
        loss.backward()
        loss_sum += loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm).full_tensor().item()
    dist.all_reduce(loss_sum)
    if not math.isfinite(loss_sum.item()) or not math.isfinite(norm):
        raise OchatError(
            f"step {step + 1}: loss {loss_sum.item():g}, gradient norm {norm:g} at learning rate {rate:g}: "
            "the run diverged; lower train.learning_rate and give another output folder "
            "(the same command goes on from the last checkpoint before)"
        )
    worker.optimizer.step()
    worker.optimizer.zero_grad()
    return {
        "step": step + 1,
        "epoch": feed.plan.epoch(step) + 1,
        "loss": loss_sum.item(),
        "learning_rate": rate,
        "grad_norm": norm,
        "tokens": feed.step_tokens(step),
    }


@torch.no_grad()
def _evaluate(worker: Worker, feed: Feed) -> float:
    """Weighted mean loss over all held-out conversations."""
    loss_sum = torch.zeros((), device=worker.device)
    divisor = float(feed.tokens.target_weights_N.sum()) or 1.0
    for step in range(feed.plan.steps):
        for index in range(worker.rank, worker.config.bins_per_step, worker.world_size):
            batch = pack(feed.tokens, feed.plan.bin(step, index)).to(worker.device)
            loss_sum += worker.model(batch, divisor)
    reshard(worker.model)
    dist.all_reduce(loss_sum)
    return float(loss_sum)
