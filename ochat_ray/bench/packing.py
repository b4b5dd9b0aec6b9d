"""Our packing plan against how OpenChat packed: time, filling, balance, and what is left out.

The balance is that of computation over the bins of a step, which workers compute at the same time:
mean / max of 6 N length + 6 L d length^2 operations, of LLaMA-13B, as a mean over steps. Filling and
balance are of all steps but the last, which is a partial one; what is dropped, a mean over random orders.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ochat_ray.bench import _samplers as samplers
from ochat_ray.bench import record
from ochat_ray.bench._lengths import chats
from ochat_ray.train.packing import make_plan

Ints = NDArray[np.int64]
Sampler = Callable[[Ints, int, int], Ints]

LLAMA_13B = 40 * 5120 / 13.016e9  # attention's cost of a pair of tokens: layers x width / parameters
SMALL, DRAWS = 6_000, 20  # conversations of the first OpenChat; how often so many are drawn


class Shape(NamedTuple):
    """Of a step, and the longest conversation."""

    bins: int
    max_tokens: int
    context: int


SHAPES = (
    Shape(8, 28_672, 2_048),
    Shape(16, 8_192, 2_048),
    Shape(64, 2_048, 2_048),
    Shape(8, 65_536, 8_192),
    Shape(8, 65_536, 32_768),
)


def main(argv: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench packing", description=__doc__)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[1_000_000, 10_000_000],
        help="conversations to plan (default 1 and 10 million), for all steps but the first the first number",
    )
    args = parser.parse_args(argv)
    how = f"numba {version('numba')}" if samplers.COMPILED else "not compiled: no numba"
    ways: dict[str, Sampler] = {
        f"OpenChat v1 ({how})": samplers.openchat_v1,
        f"OpenChat v2 ({how})": samplers.openchat_v2,
        "ours, tokens alone": partial(_ours, attention_cost=0.0),
        "ours": partial(_ours, attention_cost=LLAMA_13B),
    }
    for way in ways.values():
        way(chats(1000), 2048, 8)  # compiles
    heads = "".join(f" {size:,}, CPU s |" for size in args.sizes)
    lines = [
        f"| step | longest | way |{heads} token efficiency | balance | dropped of {SMALL:,} |",
        "|---|---|---|" + "---|" * (len(args.sizes) + 3),
    ]
    for shape in SHAPES:
        sizes = args.sizes if shape is SHAPES[0] else args.sizes[:1]
        unplanned = " - |" * (len(args.sizes) - len(sizes))
        about = f"{shape.bins} x {shape.max_tokens:,} | {shape.context:,}"
        for name, way in ways.items():
            times, quality = _measure(way, sizes, shape)
            lines.append(f"| {about} | {name} | {times} |{unplanned} {quality} |")
    record("Packing plans against OpenChat's samplers", "\n".join(lines))


def _measure(way: Sampler, sizes: list[int], shape: Shape) -> tuple[str, str]:
    """Cells of seconds for each size, and of filling, balance and conversations dropped."""
    bins, max_tokens, context = shape
    times = []
    for size in sizes:
        lengths = chats(size, context=context)
        began = time.process_time()
        numbers = way(lengths, max_tokens, bins)
        times.append(f"{time.process_time() - began:.2f}")
        if size == sizes[0]:
            filled, balance = _quality(lengths, numbers, shape)
    few = [way(chats(SMALL, seed, context=context), max_tokens, bins) for seed in range(DRAWS)]
    dropped = np.count_nonzero(np.concatenate(few) < 0) / DRAWS
    return " | ".join(times), f"{filled:.2%} | {balance:.2%} | {dropped:.0f}"


def _ours(lengths: Ints, max_tokens: int, bins: int, *, attention_cost: float) -> Ints:
    plan = make_plan(
        lengths, max_tokens=max_tokens, bins_per_step=bins, epochs=1, seed=0, attention_cost=attention_cost
    )
    numbers = np.full(len(lengths), -1)
    numbers[plan.order] = np.repeat(np.arange(len(plan.bounds) - 1), np.diff(plan.bounds))
    return numbers


def _quality(lengths: Ints, numbers: Ints, shape: Shape) -> tuple[float, float]:
    """Share of the bins' room that is used, and balance of their computation."""
    kept = numbers >= 0
    whole = (numbers.max() // shape.bins) * shape.bins  # without the last step
    costs = lengths + LLAMA_13B * lengths**2.0
    tokens, computed = (
        np.bincount(numbers[kept], weights=values[kept])[:whole].reshape(-1, shape.bins)
        for values in (lengths, costs)
    )
    return float(tokens.mean() / shape.max_tokens), float((computed.mean(1) / computed.max(1)).mean())
