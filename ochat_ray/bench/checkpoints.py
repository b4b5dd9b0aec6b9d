"""What checkpoints cost while training goes on: steps with one every so often, beside steps without.

One worker and one thread: what a checkpoint is written with in the background is taken from the steps here,
as it would not be on a machine with cores to spare.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from ochat_ray.bench import _small as small
from ochat_ray.bench import record
from ochat_ray.config import TrainConfig, load_recipe
from ochat_ray.train.base import make_tiny
from ochat_ray.train.batch import PackedBatch, pack_lists
from ochat_ray.train.checkpoint import Checkpoints
from ochat_ray.train.snapshot import Cursor
from ochat_ray.train.strategies import Strategy, make_strategy

RATE = 1e-5


class Stretch(NamedTuple):
    """Some steps: seconds of each, on average, and those in which a checkpoint held them up."""

    step_s: float
    held_s: float


def main(argv: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench checkpoints", description=__doc__)
    parser.add_argument("--steps", type=int, default=20, help="steps from one checkpoint to the next")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens of a step")
    parser.add_argument("--repeats", type=int, default=5, help="the median counts")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        dist.init_process_group("gloo", init_method=f"file://{work}/store", rank=0, world_size=1)
        overrides = [f"base.{field}={value}" for field, value in small.SHAPE.model_dump().items()]
        make_tiny(work / "base", load_recipe("tiny-cpu", overrides))
        strategy = make_strategy(
            TrainConfig(), work / "base", torch.device("cpu"), torch.float32, accumulate=1
        )
        checkpoints = Checkpoints(str(work / "checkpoints"), keep=1)
        batch = _batch(args.tokens)
        _stretch(strategy, batch, 2, None)
        found: dict[bool, list[Stretch]] = {False: [], True: []}
        for _ in range(args.repeats):  # side by side, so that both meet the same load
            for saves in found:
                found[saves].append(_stretch(strategy, batch, args.steps, checkpoints if saves else None))
        size = sum(path.stat().st_size for path in (work / "checkpoints").rglob("*"))
        dist.destroy_process_group()
    without, with_one = (statistics.median(s.step_s for s in stretches) for stretches in found.values())
    held = statistics.median(s.held_s for s in found[True])
    record(
        f"Checkpoints of {size / 1e6:.0f} MB, one every {args.steps} steps of {args.tokens:,} tokens",
        "| steps | s a step | times without |\n|---|---|---|\n"
        f"| without checkpoints | {without:.3f} | 1.000 |\n"
        f"| with one in the background | {with_one:.3f} | {with_one / without:.3f} |\n\n"
        f"Beginning one holds its step up for {held:.3f} s, {held / without:.1%} of a step.",
    )


def _batch(tokens: int) -> PackedBatch:
    found = small.conversations(tokens // 16, context=1024)
    ends = np.cumsum([len(ids) for ids in found])
    whole = found[: int(np.searchsorted(ends, tokens))]
    return pack_lists(whole, [np.ones(len(ids), np.float32) for ids in whole])


def _stretch(strategy: Strategy, batch: PackedBatch, steps: int, checkpoints: Checkpoints | None) -> Stretch:
    """Steps with a checkpoint begun after the first and written by the end of the last."""
    held = 0.0
    began = time.perf_counter()
    for step in range(steps):
        strategy.backward(strategy.loss(batch, 1000.0), last=True)
        strategy.step(RATE, lambda _: True)
        if checkpoints is not None and step == 0:
            asked = time.perf_counter()
            checkpoints.save(strategy, Cursor(step=1, epoch=0, updates=1, plan_hash="", dtype="float32"))
            held = time.perf_counter() - asked
    if checkpoints is not None and (problem := checkpoints.wait()):
        raise SystemExit(problem)
    return Stretch((time.perf_counter() - began) / steps, held)
