"""What training costs beside the model: our trainer, a bare loop over the same packs, and TRL's SFTTrainer.

CPU seconds of one thread for the same conversations, model, optimizer and tokens a step. TRL's attention
on CPUs is PyTorch's: what it packs or joins without padding, it separates by a mask over the whole row,
because variable-length kernels (flash attention) need a GPU. TRL is not among our dependencies:
`pip install trl` brings it in.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ochat_ray.bench import _processes as processes
from ochat_ray.bench import _small as small
from ochat_ray.bench import record
from ochat_ray.config import load_recipe
from ochat_ray.train import attention, log
from ochat_ray.train.base import make_tiny
from ochat_ray.train.batch import pack_lists
from ochat_ray.train.flops import Size
from ochat_ray.train.model import PackedModel
from ochat_ray.train.packing import make_plan

Ids = NDArray[np.int32]
CONTEXT, MAX_TOKENS, BINS, BATCH = 2048, 4096, 1, 8
RATE = 1e-4


class Used(NamedTuple):
    """Of a run: CPU seconds and the tokens computed in them, without padding."""

    cpu_s: float
    tokens: int


def main(argv: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench trainers", description=__doc__)
    parser.add_argument("--conversations", type=int, default=40, help="(default 40)")
    parser.add_argument("--repeats", type=int, default=3, help="the median counts (default 3)")
    args = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    attention.register()
    found = small.conversations(args.conversations, context=CONTEXT)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        overrides = [f"base.{name}={value}" for name, value in small.SHAPE.model_dump().items()]
        make_tiny(work / "base", load_recipe("tiny-cpu", overrides))
        small.write_prepared(work / "data", work / "base", found)
        ways: dict[str, Callable[[], Used]] = {
            "bare loop over our packs": partial(_bare, work / "base", found),
            "ours, whole": partial(_ours, work),
        }
        if importlib.util.find_spec("trl"):
            trl = f"TRL {version('trl')}"
            ways |= {
                f"{trl}, packing (bfd)": partial(_trl, work, found, packing=True),
                f"{trl}, padding-free": partial(_trl, work, found, padding_free=True),
                f"{trl}, padded": partial(_trl, work, found),
            }
        else:
            print("without TRL: `pip install trl` to compare with it", file=sys.stderr)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(args.repeats):  # side by side, so that all meet the same load
            for name, way in ways.items():
                used = way()
                rates[name].append(1e3 * used.cpu_s / used.tokens)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ours = medians["ours, whole"]
    lines = ["| way | CPU s for 1,000 tokens | times ours |", "|---|---|---|"]
    lines += [f"| {name} | {rate:.3f} | {rate / ours:.2f} |" for name, rate in medians.items()]
    tokens = sum(map(len, found))
    record(f"Trainers, {len(found)} conversations, {tokens:,} tokens", "\n".join(lines))


def _bare(base: Path, found: Sequence[Ids]) -> Used:
    """The model, packs, loss and AdamW, and nothing else; without the first step, which warms up."""
    from transformers import AutoModelForCausalLM

    model = PackedModel(AutoModelForCausalLM.from_pretrained(base, attn_implementation=attention.NAME))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    lengths = np.array([len(ids) for ids in found])
    settings = {"bins_per_step": BINS, "epochs": 1, "seed": 42}  # the seed of a recipe that names none
    plan = make_plan(lengths, max_tokens=MAX_TOKENS, **settings, attention_cost=Size.of(base).attention_cost)
    began, tokens = 0.0, 0
    for step in range(plan.steps):
        divisor = float((lengths[plan.step(step)] - 1).sum())
        for index in range(BINS):
            bin = [found[row] for row in plan.bin(step, index)] or [np.zeros(1, np.int32)]
            model(pack_lists(bin, [np.ones(len(ids), np.float32) for ids in bin]), divisor).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step == 0:
            began = time.process_time()
        else:
            tokens += int(lengths[plan.step(step)].sum())
    return Used(time.process_time() - began, tokens)


def _ours(work: Path) -> Used:
    """`ochat-ray train` with one worker, from the end of its first step to that of its last."""
    output = Path(tempfile.mkdtemp(dir=work))
    settings = {
        "num_workers": 1,
        "epochs": 1,
        "max_tokens": MAX_TOKENS,
        "bins_per_step": BINS,
        "learning_rate": RATE,
        "checkpoint.every_steps": 1000,
    }
    words = ["train", str(work / "data"), str(output / "run"), "--base", str(work / "base")]
    overrides = [f"train.{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "ochat_ray", *words, "--recipe", "tiny-cpu", *overrides]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        seen: list[tuple[int, float]] = []
        while process.poll() is None:
            step = max((entry["step"] for entry in log.read(output / "run" / log.NAME)), default=0)
            if step > (seen[-1][0] if seen else 0):
                seen.append((step, processes.cpu_seconds(process.pid, "ray::RayTrainWorker")))
            time.sleep(0.01)
        assert process.stderr is not None
        problem = process.stderr.read()
    if process.returncode:
        sys.exit(f"ochat-ray train failed: {problem}")
    entries = [entry for entry in log.read(output / "run" / log.NAME) if "loss" in entry]
    (first, began), (last, ended) = seen[0], seen[-1]
    return Used(ended - began, sum(e["tokens"] for e in entries if first < e["step"] <= last))


def _trl(work: Path, found: Sequence[Ids], *, packing: bool = False, padding_free: bool = False) -> Used:
    """SFTTrainer as it comes, but for memory savings that cost time; steps of as many tokens as ours."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):
        began = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.process_time()

    config = SFTConfig(
        output_dir=tempfile.mkdtemp(dir=work),
        packing=packing,
        padding_free=padding_free,
        max_length=MAX_TOKENS if packing else None,
        per_device_train_batch_size=1 if packing else BATCH,
        gradient_accumulation_steps=BINS,
        num_train_epochs=1,
        learning_rate=RATE,
        max_grad_norm=1.0,
        optim="adamw_torch",
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        pad_token="</s>",
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    clock = Clock()
    model = AutoModelForCausalLM.from_pretrained(work / "base", dtype=torch.float32)
    SFTTrainer(
        model,
        args=config,
        train_dataset=Dataset.from_dict({"input_ids": [ids.tolist() for ids in found]}),
        processing_class=AutoTokenizer.from_pretrained(work / "base"),
        callbacks=[clock],
    ).train()
    return Used(clock.ended - clock.began, sum(map(len, found)))
