"""How long training takes to begin: from the command to the end of its first step, beside bare imports.

With RAY_API_SERVER_ADDRESS, the address of a cluster that runs already, also by `ray job submit`.
Conversations are few and the model tiny, so that nearly all of it is the way there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ochat_ray.bench import _small as small
from ochat_ray.bench import record
from ochat_ray.config import load_recipe
from ochat_ray.train import log
from ochat_ray.train.base import make_tiny

IMPORTS = "import ray.train.torch, torch, transformers"
TRAIN = [sys.executable, "-m", "ochat_ray", "train"]
SUBMIT = ["ray", "job", "submit", "--working-dir", ".", "--", "python", "jobs/train.py"]


def main(argv: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench starts", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="the median counts (default 3)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_tiny(work / "base", load_recipe("tiny-cpu"))
        small.write_prepared(work / "data", work / "base", small.conversations(8, context=1024))
        ways = {
            "bare imports": None,
            "ochat-ray train, private cluster": [sys.executable, "-m", "ochat_ray", "train"],
        }
        if "RAY_API_SERVER_ADDRESS" in os.environ:
            ways["ray job submit, running cluster"] = SUBMIT
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(args.repeats):  # side by side, so that all meet the same load
            for index, (way, command) in enumerate(ways.items()):
                output = work / f"run-{number}-{index}"
                seconds[way].append(_imports() if command is None else _first_step(command, work, output))
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    bare = medians["bare imports"]
    lines = [f"| {way} | {median:.1f} | {median / bare:.1f} |" for way, median in medians.items()]
    record("Time to the first step", "| way | s | times imports |\n|---|---|---|\n" + "\n".join(lines))


def _imports() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, capture_output=True)
    return time.perf_counter() - began


def _first_step(command: list[str], work: Path, output: Path) -> float:
    words = [str(work / "data"), str(output), "--base", str(work / "base"), "--recipe", "tiny-cpu"]
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, *words, "train.num_workers=1", "train.epochs=1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not log.read(output / log.NAME):
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended before its first step")
            time.sleep(0.02)
        return time.perf_counter() - began
