"""Tokens a CPU second of the native engine beside other ways to run the same model, in one run.

The same random requests go one at a time through transformers' `generate`, in padded batches through it,
through transformers' continuous batching, through the engine, and with `--vllm` through vLLM in a Python of
its own, each with so many at a time. Rounds are interleaved and CPU time is counted, so that other work on
the machine matters little; the ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaConfig, LlamaForCausalLM

from ochat_ray.bench import record
from ochat_ray.serve.engine.engine import Engine, Output
from ochat_ray.serve.engine.limits import Limits
from ochat_ray.serve.engine.request import Chunk, EngineDeadError, Generation
from ochat_ray.serve.engine.runner import DTYPES, Runner

PROMPTS, REPLIES = (16, 400), (16, 128)  # tokens, shortest and longest
CONTEXT = 1024
VOCABULARY = 4096
SHAPES = {"16M": (384, 1024, 8, 6), "150M": (1024, 2816, 12, 16)}  # hidden, intermediate, layers, heads


class Ask(NamedTuple):
    """A request: prompt ids, and how many tokens to generate."""

    prompt: list[int]
    reply: int


class Ran(NamedTuple):
    """CPU seconds, and the tokens of each request."""

    seconds: float
    ids: list[list[int]]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench engine", description=__doc__)
    parser.add_argument("--model", choices=SHAPES, default="16M", help="parameters (default 16M)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="(default float32)")
    parser.add_argument("--requests", type=int, default=64, help="of each measurement (default 64)")
    parser.add_argument("--rounds", type=int, default=2, help="(default 2)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--vllm", metavar="PYTHON", help="a Python that has vLLM, to compare with")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    rng = random.Random(0)
    asks = [
        Ask([rng.randrange(3, VOCABULARY) for _ in range(rng.randint(*PROMPTS))], rng.randint(*REPLIES))
        for _ in range(args.requests)
    ]
    reference = _model(args.model, args.dtype)
    runner = Runner(_model(args.model, args.dtype), cache_tokens=CONTEXT * max(args.concurrency))
    ways: dict[str, Callable[[], Ran]] = {"generate 1": _timed(partial(_padded, reference, asks, 1))}
    with tempfile.TemporaryDirectory() as folder:
        for concurrency in args.concurrency:
            if concurrency > 1:
                ways[f"padded {concurrency}"] = _timed(partial(_padded, reference, asks, concurrency))
            ways[f"continuous {concurrency}"] = _timed(partial(_continuous, reference, asks, concurrency))
            ways[f"engine {concurrency}"] = _timed(partial(_engine, runner, asks, concurrency))
            if args.vllm:
                reference.save_pretrained(folder)
                ways[f"vllm {concurrency}"] = partial(
                    _vllm, args.vllm, Path(folder), args.dtype, asks, concurrency
                )
        _engine(runner, asks[:4], 4)  # compiles
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        same: dict[str, float] = {}
        expected: list[list[int]] = []
        for _ in range(args.rounds):
            for way, run in ways.items():
                seconds, ids = run()
                expected = expected or ids
                speeds[way].append(sum(ask.reply for ask in asks) / seconds)
                same[way] = sum(a == b for a, b in zip(ids, expected, strict=True)) / len(asks)
                print(f"{way}: {speeds[way][-1]:.0f} tokens/CPU s, {same[way]:.0%} as generate", flush=True)
    title = f"Engines: a {args.model} Llama in {args.dtype}, {args.threads} thread(s)"
    record(title, _table(args.concurrency, speeds, same))


def _timed(run: Callable[[], list[list[int]]]) -> Callable[[], Ran]:
    def timed() -> Ran:
        began = time.process_time()
        ids = run()
        return Ran(time.process_time() - began, ids)

    return timed


def _model(shape: str = "16M", dtype: str = "float32") -> Any:
    hidden, intermediate, layers, heads = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=CONTEXT,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval().to(DTYPES[dtype])


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


def _continuous(model: Any, asks: Sequence[Ask], size: int) -> list[list[int]]:
    """transformers' own continuous batching."""
    implementation = model.config._attn_implementation
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
        continuous_batching_config=ContinuousBatchingConfig(
            num_blocks=CONTEXT * size // 32 + 8,
            page_size=32,
            max_batch_tokens=512 + size,
            max_requests_per_batch=size,
            use_cuda_graph=False,
            allow_block_sharing=False,
        ),
    )
    manager.start()
    try:
        keys = [manager.add_request(ask.prompt, max_new_tokens=ask.reply, eos_token_id=-1) for ask in asks]
        found: dict[str, list[int]] = {}
        while len(found) < len(keys):
            result = manager.get_result(timeout=60)
            if result is None or result.error:
                raise RuntimeError(f"transformers' continuous batching stopped: {result}")
            if result.is_finished():
                found[result.request_id] = list(result.generated_tokens)
    finally:
        manager.stop(block=True)
        model.set_attn_implementation(implementation)
    return [found[key] for key in keys]


def _vllm(python: str, folder: Path, dtype: str, asks: Sequence[Ask], size: int) -> Ran:
    """vLLM in a process of its own, at its best: see `_vllm.py`."""
    file = folder / "asks.json"
    file.write_text(json.dumps([ask._asdict() for ask in asks]), encoding="utf-8")
    command = [python, "-m", "ochat_ray.bench._vllm", str(folder), str(file), str(size), "--dtype", dtype]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(out.splitlines()[-1])
    return Ran(found["cpu_s"], found["ids"])


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


def _table(concurrency: Sequence[int], speeds: dict[str, list[float]], same: dict[str, float]) -> str:
    median = {way: statistics.median(values) for way, values in speeds.items()}
    base = median["generate 1"]
    kinds = [
        kind for kind in ("padded", "continuous", "vllm", "engine") if any(w.startswith(kind) for w in speeds)
    ]
    names = {"padded": "padded batches", "continuous": "transformers' continuous batching", "vllm": "vLLM"}
    head = [f"{names.get(kind, 'engine')}" for kind in kinds]
    lines = [
        f"Tokens a CPU second and times `generate` one at a time ({base:.0f}); "
        "of the engine also the share of replies that are `generate`'s to the last token.",
        "",
        "| at a time | " + " | ".join(head) + " |",
        "|---" * (len(head) + 1) + "|",
    ]
    for c in concurrency:
        cells = []
        for kind in kinds:
            way = f"{kind} {c}" if f"{kind} {c}" in median else "generate 1"
            cell = f"{median[way]:.0f} ({median[way] / base:.2f}x)"
            cells.append(f"{cell}, {same[way]:.0%}" if kind == "engine" else cell)
        lines.append(f"| {c} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
