"""Runs in Weights & Biases."""

from __future__ import annotations

import secrets

import wandb

from ochat_ray.config import Recipe
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.trackers import CLOSE_S, Metrics, Sent

QUIET = wandb.Settings(
    silent=True,  # also keeps a missing key from becoming a question on the terminal
    # This process only looks on: neither what it prints nor its load is the run's.
    console="off",
    disable_git=True,
    disable_code=True,
    x_disable_stats=True,
    x_disable_meta=True,
    # A server that is away must not keep the command from ending.
    init_timeout=60,
    finish_timeout=CLOSE_S - 5,
    finish_timeout_raises=True,
)


class Wandb:
    """A run of W&B's for this output, under an id of its own, so that a later command goes on with it."""

    def __init__(self, project: str, folders: Folders, recipe: Recipe, sent: Sent) -> None:
        sent.run = sent.run or secrets.token_hex(4)
        wandb.setup(QUIET)
        self._run = wandb.init(
            project=project,
            id=sent.run,
            name=folders.output.name,
            resume="allow",
            dir=folders.output,
            config=recipe.model_dump(mode="json", include={"name", "model_type", "train"}),
            settings=QUIET,
        )
        self.where = self._run.url or f"wandb sync {folders.output / 'wandb'}/offline-run-*-{sent.run}"

    def send(self, steps: list[tuple[int, Metrics]]) -> None:
        """Hand them to W&B's own process, which sends them when it can."""
        for step, metrics in steps:
            self._run.log(metrics, step=step)

    def back(self, step: int) -> bool:  # noqa: ARG002 - its steps only grow
        """Steps that are computed again come out as they did, so that those there may stay."""
        return False

    def close(self, finished: bool) -> None:
        """Say how it ended."""
        self._run.finish(exit_code=0 if finished else 1)
