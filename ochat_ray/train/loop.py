"""What every Ray Train worker runs."""

from __future__ import annotations

import logging
import math
import shutil
import time
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
from ochat_ray.exported import write_chat_files
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train import log
from ochat_ray.train.checkpoint import Checkpoints
from ochat_ray.train.evaluate import bins_of_worker, evaluate
from ochat_ray.train.export import write_model
from ochat_ray.train.feed import Feed
from ochat_ray.train.folders import Folders
from ochat_ray.train.guard import Guard
from ochat_ray.train.inputs import has_rows
from ochat_ray.train.isolation import check_isolation
from ochat_ray.train.meter import Meter
from ochat_ray.train.schedule import learning_rate, peak_rate
from ochat_ray.train.snapshot import Cursor
from ochat_ray.train.strategies import Strategy, make_strategy
from ochat_ray.train.together import together

ASK_S = 5.0  # between looks whether a cloud takes a node back
SUSPECTS = 4  # conversations named in a message; the log names all


@dataclass(frozen=True)
class Stopped:
    """A run that was told to stop, and has written a last checkpoint."""


def train_worker(settings: dict[str, Any]) -> OchatError | Stopped | None:
    """Train to the end of the plan and export, or to where it is told to stop.

    An error that only a user can mend is returned, not raised: Ray Train would start the workers again in
    vain.
    """
    recipe = Recipe.model_validate(settings["recipe"])
    try:
        return Worker(recipe, Path(settings["base"]), Folders(settings["output"])).run()
    except OchatError as error:
        return error


class Worker:
    """One worker of a run."""

    def __init__(self, recipe: Recipe, base: Path, folders: Folders) -> None:
        config = recipe.train
        self.recipe, self.config, self.base, self.folders = recipe, config, base, folders
        self.device = ray.train.torch.get_device()
        self.first = dist.get_rank() == 0
        torch.set_num_threads(config.threads)
        # One of Ray Train's loggers lies outside its own log level and tells every checkpoint.
        logging.getLogger().setLevel(logging.WARNING)
        disable_progress_bar()
        with together():
            dtype = forward_dtype(config, self.device)
        accumulate = len(bins_of_worker(config.bins_per_step))
        self.strategy: Strategy = make_strategy(config, base, self.device, dtype, accumulate=accumulate)
        with together():
            check_isolation(self.strategy.model, self.device, dtype)
        self.strategy.evaluated()
        self.dtype = str(dtype).removeprefix("torch.")
        with together():
            self.feed = Feed.load(folders.tokens / "train", config.weighting)
            held_out = folders.tokens / "eval"
            self.held_out = Feed.load(held_out, config.weighting) if has_rows(held_out) else None
            self.meter = Meter(self.feed, base, config.max_tokens, self.device)
            self.template = ChatTemplate(load_model_type(recipe.model_type), ChatTokenizer.load(base))
        architecture = self.strategy.model.hf.config.model_type
        self.peak = peak_rate(config, architecture, self.feed.targets_per_step)
        self.checkpoints = Checkpoints(folders.checkpoints_of(config.checkpoint), config.checkpoint.keep)
        self.updates = 0
        self.best = math.inf
        self.saved_at = self.asked_at = time.monotonic()
        self.preempted = self.saved_for_preemption = False

    def run(self) -> Stopped | None:
        """From the last checkpoint to the end."""
        try:
            done = self._resume()
            return self._train(done)
        except OchatError:
            self.checkpoints.wait()  # what was being written when the run diverged is worth having
            raise

    def _resume(self) -> int:
        """Go back to the last checkpoint; the number of steps that are done."""
        cursor, problems = self.checkpoints.resume(self.strategy, self.feed.plan.hash, self.dtype)
        done = cursor.step if cursor else 0
        self.updates = cursor.updates if cursor else 0
        if self.first:
            if not done and log.read(self.folders.losses):
                problems.append(f"no whole checkpoint in {self.checkpoints.storage.location}: starts over")
            for path in (self.folders.losses, self.folders.speed):
                log.truncate(path, done)
            log.append(self.folders.attempts, [{"step": done, "workers": dist.get_world_size()}])
        for problem in problems:
            self._note(problem)
        dist.barrier()
        logged = log.read(self.folders.losses)
        self.guard = Guard(self.config, [entry["loss"] for entry in logged if "loss" in entry])
        self.best = min((entry["eval_loss"] for entry in logged if "eval_loss" in entry), default=math.inf)
        return done

    def _train(self, done: int) -> Stopped | None:
        plan = self.feed.plan
        for step in range(done, plan.steps):
            due, stop = self._step(step)
            ends_epoch = step + 1 in plan.epoch_ends
            every = self.config.eval_every
            eval_loss = self._evaluate(step) if ends_epoch or (every and (step + 1) % every == 0) else None
            if ends_epoch and self.config.export.every_epoch:
                self._export_epoch(step)
            if best := eval_loss is not None and eval_loss < self.best:
                self.best = eval_loss
            if due or stop or ends_epoch or best:
                self._save(Cursor(step + 1, plan.epoch(step), self.updates, plan.hash, self.dtype, eval_loss))
            if stop and step + 1 < plan.steps:
                self._note(self.checkpoints.wait())
                return Stopped()
        write_model(self.strategy, self.base, self.folders.exporting, self.config, self.template)
        self._note(self.checkpoints.wait())
        return None

    def _step(self, step: int) -> tuple[bool, bool]:
        """One optimizer step; whether a checkpoint is due after it, and whether the run is to stop.

        Raises OchatError, on every worker, if the run diverged.
        """
        feed, strategy = self.feed, self.strategy
        rate = learning_rate(self.config, self.peak, step, feed.plan.steps)
        divisor = feed.divisor(step)
        mine = bins_of_worker(self.config.bins_per_step)
        losses = []
        with self.meter.timed(step):
            for index in mine:
                loss = strategy.loss(feed.pack(step, index).to(self.device), divisor)
                strategy.backward(loss, last=index == mine[-1])
                losses.append(loss.detach())
            told = torch.stack([torch.stack(losses).sum(), *self._wishes(step)])
            dist.all_reduce(told)
            total, due, stop, ask = told.tolist()
            if ask:  # of Ray, which asks all workers together
                self.preempted |= ray.train.get_preemption_info() is not None
            norm = strategy.step(rate, lambda norm: self.guard.fault(total, norm) is None)
        fault = self.guard.fault(total, norm)
        entry: dict[str, Any] = {"step": step + 1, "epoch": feed.plan.epoch(step) + 1}
        if fault is None:
            self.updates += 1
            self.guard.passed(total)
            entry |= {"loss": total, "grad_norm": norm}
        else:
            entry |= {"skipped": fault, "samples": self._suspects(step, dict(zip(mine, losses, strict=True)))}
            if self.config.divergence == "stop":
                raise OchatError(_diverged(entry, rate))
        entry |= {
            "learning_rate": rate,
            "tokens": feed.step_tokens(step),
            "targets": feed.step_targets(step),
        }
        if self.first:
            log.append(self.folders.losses, [entry])
            log.append(self.folders.speed, [self.meter.entry])
        return bool(due), bool(stop)

    def _wishes(self, step: int) -> list[torch.Tensor]:
        """What this worker would like after a step: a checkpoint, an end, and to ask whether nodes will go.
        Any worker's wish is all's."""
        checkpoint = self.config.checkpoint
        due = self.preempted and not self.saved_for_preemption
        self.saved_for_preemption |= due  # the node will go, and what was not saved by then with it
        stop = ask = False
        if self.first:
            late = time.monotonic() - self.saved_at > 60 * checkpoint.every_minutes
            every = checkpoint.every_steps
            due |= late or (every is not None and (step + 1) % every == 0)
            stop = self.folders.stop.exists()
            if time.monotonic() - self.asked_at > ASK_S:
                self.asked_at = time.monotonic()
                ask = True
        return [torch.tensor(float(wish), device=self.device) for wish in (due, stop, ask)]

    def _suspects(self, step: int, losses: dict[int, torch.Tensor]) -> list[str]:
        """Ids of the conversations in the bin with the worst loss of a step: no number, or the highest."""
        gathered: list[dict[int, float]] = [{}] * dist.get_world_size()
        dist.all_gather_object(gathered, {index: loss.item() for index, loss in losses.items()})
        by_bin = {index: loss for own in gathered for index, loss in own.items()}
        worst = max(by_bin, key=lambda index: by_bin[index] if math.isfinite(by_bin[index]) else math.inf)
        return [self.feed.tokens.id(int(row)) for row in self.feed.rows(step, worst)]

    def _evaluate(self, step: int) -> float | None:
        """The loss on held-out conversations after a step, logged; None where there are none."""
        if self.held_out is None:
            return None
        found = evaluate(self.strategy, self.held_out, self.device)
        if self.first:
            log.append(self.folders.losses, [{"step": step + 1, **found}])
        return float(found["eval_loss"])

    def _save(self, cursor: Cursor) -> None:
        self._note(self.checkpoints.save(self.strategy, cursor))
        self.saved_at = time.monotonic()

    def _note(self, problem: str | None) -> None:
        """Tell the user, by the driver."""
        if problem is not None and self.first:
            log.append(self.folders.notes, [{"note": problem}])

    def _export_epoch(self, step: int) -> None:
        epoch = self.feed.plan.epoch(step) + 1
        folder = self.folders.epoch(epoch)
        aside = folder.with_name(f".{epoch}")
        write_model(self.strategy, self.base, aside, self.config, self.template)
        if self.first:
            facts = {
                "recipe": self.recipe.model_dump(mode="json"),
                "training": {"epoch": epoch, "steps": step + 1},
            }
            write_chat_files(aside, self.template, facts)
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)


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


def _diverged(entry: dict[str, Any], rate: float) -> str:
    suspects = entry["samples"]
    more = f" and {len(suspects) - SUSPECTS} more" if len(suspects) > SUSPECTS else ""
    return (
        f"step {entry['step']}: {entry['skipped']} at learning rate {rate:g}: the run diverged, worst in the "
        f"bin of conversations {', '.join(suspects[:SUSPECTS])}{more}; lower train.learning_rate, or leave "
        "such steps out by train.divergence=skip, and give another output folder "
        "(the same command goes on from the last checkpoint before)"
    )
