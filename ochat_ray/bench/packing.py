"""How long a plan takes, how well it fills and balances, and what packing saves over padding."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ochat_ray.bench import record
from ochat_ray.train import attention
from ochat_ray.train.batch import pack_lists
from ochat_ray.train.model import PackedModel
from ochat_ray.train.packing import make_plan

VOCAB = 2048


def main(argv: list[str]) -> None:
    """Plan `--conversations` lengths, then time `--batch` of them packed and padded on a tiny Llama."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench packing", description=main.__doc__)
    parser.add_argument("--conversations", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(argv)
    lengths = _lengths(args.conversations)
    plans = [
        _plan_row(lengths, max_tokens, bins) for max_tokens, bins in ((2048, 64), (8192, 16), (28672, 8))
    ]
    record(
        f"Packing plans of {args.conversations:,} conversations",
        "| bin, tokens | bins a step | plan, s | steps | token efficiency | balance of bins |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(plans),
    )
    record(
        f"Forward and backward of {args.batch} conversations, tiny Llama, one CPU thread",
        "| layout | tokens computed | median, CPU s | of padded |\n|---|---|---|---|\n"
        + "\n".join(_layout_rows(_lengths(args.batch), args.repeats)),
    )


def _lengths(count: int) -> NDArray[np.int64]:
    """Lengths like those of shared chats: lognormal, median about 400 tokens, at most 2048."""
    drawn = np.random.default_rng(0).lognormal(6, 0.9, count)
    return drawn.astype(np.int64).clip(16, 2048)


def _plan_row(lengths: NDArray[np.int64], max_tokens: int, bins: int) -> str:
    began = time.perf_counter()
    plan = make_plan(lengths, max_tokens=max_tokens, bins_per_step=bins, epochs=1, seed=0)
    seconds = time.perf_counter() - began
    ends = np.concatenate([[0], lengths[plan.order].cumsum()])
    loads = np.diff(ends[plan.bounds]).reshape(-1, bins)
    efficiency = loads.sum() / (loads.size * max_tokens)
    balance = (loads.mean(1) / loads.max(1)).mean()
    return f"| {max_tokens:,} | {bins} | {seconds:.2f} | {plan.steps:,} | {efficiency:.2%} | {balance:.2%} |"


def _layout_rows(lengths: NDArray[np.int64], repeats: int) -> list[str]:
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.set_num_threads(1)
    torch.manual_seed(0)
    attention.register()
    shape = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "vocab_size": VOCAB}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    # A config each: a model keeps its attention's name in the very object that it is given.
    ours, padded = (
        AutoModelForCausalLM.from_config(LlamaConfig(**shape, **heads), attn_implementation=name)
        for name in (attention.NAME, "sdpa")
    )
    packed = PackedModel(ours)
    rows = [torch.randint(VOCAB, (int(length),)) for length in lengths]
    batch = pack_lists([row.tolist() for row in rows], [[1.0] * len(row) for row in rows])
    ids_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask_BT = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)

    def run_packed() -> None:
        packed(batch, 1.0).backward()

    def run_padded() -> None:
        logits = padded(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits[:, :-1]
        labels = ids_BT[:, 1:].masked_fill(mask_BT[:, 1:] == 0, -100)
        F.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()

    timings: dict[str, list[float]] = {"padded to the longest": [], "packed with segments": []}
    run_padded()
    run_packed()
    for _ in range(repeats):  # side by side, so that both meet the same load
        timings["padded to the longest"].append(_seconds(run_padded))
        timings["packed with segments"].append(_seconds(run_packed))
    medians = {name: statistics.median(values) for name, values in timings.items()}
    tokens = {"padded to the longest": ids_BT.numel(), "packed with segments": int(lengths.sum())}
    whole = medians["padded to the longest"]
    return [f"| {n} | {tokens[n]:,} | {medians[n]:.2f} | {medians[n] / whole:.2f} |" for n in medians]


def _seconds(work: Callable[[], None]) -> float:
    began = time.process_time()  # one thread, so this is its time without other programs' share
    work()
    return time.process_time() - began
