"""Checkpoints of model, optimizer and cursor, written by all workers together.

Each worker writes its shards into a folder of its own; Ray Train merges them in the run's storage and
registers the checkpoint only once every worker has reported, so a half-written one is never resumed.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import ray.train
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from ochat_ray.errors import CheckpointError

CURSOR = "cursor.json"


@dataclass(frozen=True)
class Cursor:
    """Where a run stands: `step` steps of the plan with this hash are done."""

    step: int
    epoch: int
    plan_hash: str


def save(model: torch.nn.Module, optimizer: torch.optim.Optimizer, cursor: Cursor) -> None:
    """Write and report a checkpoint. Every worker must call this; returns once it is in the storage."""
    with tempfile.TemporaryDirectory(prefix="ochat-checkpoint-") as name:
        folder = Path(name)
        weights, moments = get_state_dict(model, optimizer)
        dcp.save({"model": weights, "optimizer": moments}, checkpoint_id=folder)
        if dist.get_rank() == 0:
            (folder / CURSOR).write_text(json.dumps(asdict(cursor)), encoding="utf-8")
        ray.train.report({"step": cursor.step}, checkpoint=ray.train.Checkpoint.from_directory(folder))


def resume(model: torch.nn.Module, optimizer: torch.optim.Optimizer, plan_hash: str) -> Cursor | None:
    """Load the run's last checkpoint into model and optimizer; None where there is none yet.

    The number of workers may differ from that which saved it. Raises CheckpointError if it is of
    another plan.
    """
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as name:
        folder = Path(name)
        cursor = Cursor(**json.loads((folder / CURSOR).read_text(encoding="utf-8")))
        if cursor.plan_hash != plan_hash:
            raise CheckpointError(
                f"{folder}: belongs to another packing plan ({cursor.plan_hash[:12]}, not {plan_hash[:12]}); "
                "give another output folder"
            )
        weights, moments = get_state_dict(model, optimizer)
        state = {"model": weights, "optimizer": moments}
        dcp.load(state, checkpoint_id=folder)
        set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)
    return cursor
