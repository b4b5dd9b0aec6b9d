"""Tokens a CPU second of the native engine against transformers' `generate`, side by side in one run.

The same random requests go one at a time through `generate`, in padded batches through `generate`, and
through the engine at each concurrency. Rounds are interleaved and CPU time is counted, so that other
work on the machine hardly matters; the ratios are of medians.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ochat_ray.bench import record
from ochat_ray.serve.engine.engine import Engine, Output
from ochat_ray.serve.engine.limits import Limits
from ochat_ray.serve.engine.request import Chunk, EngineDeadError, Generation
from ochat_ray.serve.engine.runner import Runner

PROMPTS, REPLIES = (16, 400), (16, 128)  # tokens, shortest and longest
CONTEXT = 1024
VOCABULARY = 4096


class Ask(NamedTuple):
    """A request: prompt ids, and how many tokens to generate."""

    prompt: list[int]
    reply: int


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench engine", description=__doc__)
    parser.add_argument("--requests", type=int, default=64, help="of each measurement (default 64)")
    parser.add_argument("--rounds", type=int, default=2, help="(default 2)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = random.Random(0)
    asks = [
        Ask([rng.randrange(3, VOCABULARY) for _ in range(rng.randint(*PROMPTS))], rng.randint(*REPLIES))
        for _ in range(args.requests)
    ]
    reference = _model()
    runner = Runner(_model(), cache_tokens=CONTEXT * max(args.concurrency))
    ways: dict[str, Callable[[], list[list[int]]]] = {"generate 1": partial(_padded, reference, asks, 1)}
    for concurrency in args.concurrency:
        if concurrency > 1:
            ways[f"padded {concurrency}"] = partial(_padded, reference, asks, concurrency)
        ways[f"engine {concurrency}"] = partial(_engine, runner, asks, concurrency)
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    total = sum(ask.reply for ask in asks)
    expected = ways["generate 1"]()  # also warms up
    for _ in range(args.rounds):
        for way, run in ways.items():
            began = time.process_time()
            got = run()
            speeds[way].append(total / (time.process_time() - began))
            assert way.startswith("padded") or got == expected, f"{way}: other tokens than generate"
    record("Native engine against transformers generate", _table(args.concurrency, speeds))


def _model() -> Any:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=CONTEXT,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def _padded(model: Any, asks: Sequence[Ask], size: int) -> list[list[int]]:
    """`generate` on batches of `size`, padded on the left, each as long as its longest reply."""
    out = []
    for at in range(0, len(asks), size):
        batch = asks[at : at + size]
        width = max(len(ask.prompt) for ask in batch)
        ids = torch.tensor([[0] * (width - len(ask.prompt)) + ask.prompt for ask in batch])
        mask = torch.tensor([[0] * (width - len(a.prompt)) + [1] * len(a.prompt) for a in batch])
        longest = max(ask.reply for ask in batch)
        tokens = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=longest,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        out += [row[width : width + ask.reply] for row, ask in zip(tokens.tolist(), batch, strict=True)]
    return out


def _engine(runner: Runner, asks: Sequence[Ask], concurrency: int) -> list[list[int]]:
    """All requests at once; the engine runs `concurrency` of them at a time."""
    out: dict[int, list[int]] = {}
    done = threading.Event()
    left = len(asks)
    failures: list[EngineDeadError] = []

    def deliver(outputs: Sequence[Output]) -> None:
        nonlocal left
        for key, result in outputs:
            if isinstance(result, Chunk):
                out.setdefault(key, []).extend(result.token_ids)
                left -= result.finish_reason is not None
            else:
                failures.append(result)
        if failures or not left:
            done.set()

    limits = Limits(
        context=CONTEXT,
        cache_tokens=runner.cache.tokens,
        max_running=concurrency,
        prefill_chunk=512,
        max_queued=len(asks),
    )
    engine = Engine(runner, limits, stop_ids=frozenset(), deliver=deliver)
    keys = [engine.submit(Generation(ask.prompt, ask.reply)) for ask in asks]
    done.wait()
    engine.close()
    if failures:
        raise failures[0]
    return [out[key] for key in keys]


def _table(concurrency: Sequence[int], speeds: dict[str, list[float]]) -> str:
    median = {way: statistics.median(values) for way, values in speeds.items()}
    base = median["generate 1"]
    lines = [
        "| at a time | generate, padded batches | native engine | padded / one at a time "
        "| engine / one at a time |",
        "|---|---|---|---|---|",
    ]
    for c in concurrency:
        padded = median["generate 1" if c == 1 else f"padded {c}"]
        ours = median[f"engine {c}"]
        speeds_text = f"{padded:.0f} tokens/CPU s | {ours:.0f} tokens/CPU s"
        lines.append(f"| {c} | {speeds_text} | {padded / base:.2f} | {ours / base:.2f} |")
    return "\n".join(lines)
