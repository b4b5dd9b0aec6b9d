"""What padding costs: forward and backward over the same conversations, one CPU thread, side by side."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ochat_ray.bench import _small as small
from ochat_ray.bench import record
from ochat_ray.train import attention
from ochat_ray.train.batch import pack_lists
from ochat_ray.train.model import PackedModel
from ochat_ray.train.packing import make_plan

Ids = NDArray[np.int32]
CONTEXT, MAX_TOKENS = 2048, 8192


def main(argv: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench layouts", description=__doc__)
    parser.add_argument("--conversations", type=int, default=24, help="(default 24)")
    parser.add_argument("--batch", type=int, default=8, help="of them in a padded batch (default 8)")
    parser.add_argument("--repeats", type=int, default=3, help="the median counts (default 3)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    attention.register()
    found = small.conversations(args.conversations, context=CONTEXT)
    batches = [found[at : at + args.batch] for at in range(0, len(found), args.batch)]
    padded, packed = small.llama("sdpa"), PackedModel(small.llama(attention.NAME))
    bins = _bins(found)
    longest = [max(map(len, batch)) for batch in batches]
    ways: dict[str, Callable[[], float]] = {
        f"padded to {CONTEXT:,}": partial(_padded, padded, batches, [CONTEXT] * len(batches)),
        f"padded to the longest of {args.batch}": partial(_padded, padded, batches, longest),
        f"packed, up to {MAX_TOKENS:,} (ours)": partial(_packed, packed, bins),
    }
    tokens = sum(map(len, found))
    computed = dict(
        zip(
            ways,
            (len(found) * CONTEXT, sum(map(int.__mul__, map(len, batches), longest)), tokens),
            strict=True,
        )
    )
    losses = [way() for way in ways.values()]  # also warms up
    assert max(losses) - min(losses) < 1e-4 * losses[0], f"not the same loss: {losses}"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):  # side by side, so that all meet the same load
        for name, way in ways.items():
            began = time.process_time()
            way()
            seconds[name].append(time.process_time() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours = list(medians.values())[-1]
    lines = ["| layout | tokens computed | median, CPU s | times ours |", "|---|---|---|---|"]
    lines += [f"| {n} | {computed[n]:,} | {medians[n]:.2f} | {medians[n] / ours:.2f} |" for n in ways]
    record(f"Forward and backward of {len(found)} conversations, {tokens:,} tokens", "\n".join(lines))


def _bins(found: Sequence[Ids]) -> list[list[Ids]]:
    lengths = np.array([len(ids) for ids in found])
    plan = make_plan(lengths, max_tokens=MAX_TOKENS, bins_per_step=1, epochs=1, seed=0)
    return [[found[index] for index in plan.step(step)] for step in range(plan.steps)]


def _packed(model: PackedModel, bins: Sequence[Sequence[Ids]]) -> float:
    total = 0.0
    for bin in bins:
        loss = model(pack_lists(list(bin), [np.ones(len(ids), np.float32) for ids in bin]), 1.0)
        loss.backward()
        total += loss.item()
    return total


def _padded(model: Any, batches: Sequence[Sequence[Ids]], widths: Sequence[int]) -> float:
    total = 0.0
    for batch, width in zip(batches, widths, strict=True):
        ids_BT = torch.zeros(len(batch), width, dtype=torch.int64)
        mask_BT = torch.zeros_like(ids_BT)
        for row, ids in enumerate(batch):
            ids_BT[row, : len(ids)] = torch.from_numpy(ids)
            mask_BT[row, : len(ids)] = 1
        logits = model(input_ids=ids_BT, attention_mask=mask_BT).logits[:, :-1]
        labels = ids_BT[:, 1:].masked_fill(mask_BT[:, 1:] == 0, -100)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        loss.backward()
        total += loss.item()
    return total
