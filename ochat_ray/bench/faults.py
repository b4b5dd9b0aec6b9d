"""Nodes lost and drivers killed in each stage: whether the result is the same, and what it costs.

The nodes are Ray's own of one machine, ended as a machine ends: all processes at once, unasked.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import openai
import ray
from ray import serve
from ray.cluster_utils import Cluster

from ochat_ray.bench import record
from ochat_ray.bench._alone import alone
from ochat_ray.bench._until import until
from ochat_ray.manifest import manifest_hash, read_manifest
from ochat_ray.runtime import QUIET
from ochat_ray.sample import questions, write_pages
from ochat_ray.train import log
from ochat_ray.train.folders import Folders

PATIENCE_S = 240.0
_until = partial(until, patience_s=PATIENCE_S)
CLIENTS = 8
CALM_S = 5.0
SMALL = ["--recipe=tiny-cpu", "base.layers=1"]
TRAIN = [*SMALL, "train.epochs=30", "train.checkpoint.every_steps=20", "train.track.tensorboard=false"]
SERVE = [*SMALL, "serve.replicas=2", "serve.chat_page.enabled=false", "serve.pool=work"]
KILL_AT = 50
"""Optimizer steps after which training is hit."""


class Nodes:
    """A head without CPUs and workers of 1 CPU that can be lost."""

    def __init__(self) -> None:
        os.environ.update(QUIET | {"RAY_AUTH_MODE": "disabled"})
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.workers = [self._add(), self._add()]
        self.address: str = self._cluster.address

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, resources={"work": 1})

    def lose(self) -> None:
        """End the youngest worker at once, and bring up another."""
        self._cluster.remove_node(self.workers.pop(), allow_graceful=False)
        self.workers.append(self._add())

    def stop(self) -> None:
        """End all."""
        ray.shutdown()
        self._cluster.shutdown()


class Way:
    """The commands of a run on these nodes."""

    def __init__(self, nodes: Nodes, work: Path) -> None:
        self._nodes, self._work = nodes, work
        self.pages, self.base = work / "pages", work / "base"

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """A command that joins the cluster."""
        command = [sys.executable, "-m", "ochat_ray", *words, f"--address={self._nodes.address}"]
        with (self._work / "commands.log").open("ab") as out:
            return subprocess.Popen(command, stdout=out, stderr=out)

    def prepare(self, output: Path) -> subprocess.Popen[bytes]:
        """`prepare` in tasks of few pages, so that there is something to lose."""
        return self.start("prepare", self.pages, output, "--base", self.base, *SMALL)

    def train(self, data: Path, output: Path) -> subprocess.Popen[bytes]:
        """`train` with two workers."""
        return self.start("train", data, output, "--base", self.base, *TRAIN)


def main(words: list[str]) -> None:
    """Hit each stage, and tell what came of it."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench faults", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("faults"), help="folder to work in")
    args = parser.parse_args(words)
    alone()
    work = args.output.resolve()
    if work.exists():
        sys.exit(f"{work}: is there already; remove it, or name another folder with --output")
    work.mkdir(parents=True)
    nodes = Nodes()
    way = Way(nodes, work)
    try:
        for number in range(6):
            write_pages(way.pages / f"copy{number}" / "ShareGPT")
        base = [sys.executable, "-m", "ochat_ray", "base", str(way.base), *SMALL]
        subprocess.run(base, check=True, capture_output=True)
        rows = [*_data(nodes, way, work), *_training(nodes, way, work), _serving(nodes, way, work)]
    finally:
        nodes.stop()
    head = ["stage", "fault", "result", "work done again", "s to recover"]
    lines = [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]
    record("Faults: nodes lost and drivers killed", "\n".join(lines))


def _data(nodes: Nodes, way: Way, work: Path) -> list[list[str]]:
    began = time.monotonic()
    _well(way.prepare(work / "data"))
    undisturbed = time.monotonic() - began
    expected = _made(work / "data")
    rows = []
    for fault in ("node lost", "driver killed"):
        output = work / f"data {fault}"
        began = time.monotonic()
        run = way.prepare(output)
        _until(partial(_begun, output), "a first part")
        if fault == "node lost":
            nodes.lose()
        else:
            run.kill()
            run.wait()
            run = way.prepare(output)
        _well(run)
        more = max(0.0, time.monotonic() - began - undisturbed)
        same = "the same bytes" if _made(output) == expected else "OTHER BYTES"
        rows.append(["data", fault, same, "unfinished parts", f"{more:.0f}"])
    return rows


def _begun(output: Path) -> bool:
    return any(path.is_file() for path in output.glob(".work/*/*"))


def _made(output: Path) -> str:
    return manifest_hash(read_manifest(output, remedy="prepare"))


def _training(nodes: Nodes, way: Way, work: Path) -> list[list[str]]:
    data = work / "data"
    _well(way.train(data, work / "run"))
    expected = log.read(Folders(work / "run").losses)
    rows = []
    for fault in ("node lost", "driver killed"):
        output = work / f"run {fault}"
        folders = Folders(output)
        run = way.train(data, output)
        _until(partial(_is_past, folders, KILL_AT), f"step {KILL_AT}")
        hit, step = time.monotonic(), _step(folders)
        if fault == "node lost":
            nodes.lose()
        else:
            run.send_signal(signal.SIGKILL)
            run.wait()
            run = way.train(data, output)
        _until(partial(_is_past, folders, step, starts=1), "the step of the fault")
        recovered = time.monotonic() - hit
        _well(run)
        again = step - log.read(folders.attempts)[-1]["step"]
        same = "the same losses" if log.read(folders.losses) == expected else "OTHER LOSSES"
        rows.append(["training", fault, same, f"{again} steps of {expected[-1]['step']}", f"{recovered:.0f}"])
    return rows


def _is_past(folders: Folders, step: int, *, starts: int = 0) -> bool:
    """Whether a run is past a step, after more than so many starts."""
    return _step(folders) > step and len(log.read(folders.attempts)) > starts


def _step(folders: Folders) -> int:
    entries = log.read(folders.losses)
    return int(entries[-1]["step"]) if entries else 0


def _serving(nodes: Nodes, way: Way, work: Path) -> list[str]:
    """Asked all the while with OpenAI's client, which tries a failed request again twice."""
    _well(way.start("serve", work / "run" / "model", *SERVE))
    ray.init(nodes.address, namespace="ochat", log_to_driver=False)
    over = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        load = thread.submit(lambda: asyncio.run(_load(over)))
        try:
            time.sleep(CALM_S)
            hit = time.monotonic()
            nodes.lose()
            _until(lambda: not _whole(), "the loss to be noticed")
            _until(_whole, "two replicas")
            recovered = time.monotonic() - hit
            time.sleep(CALM_S)
        finally:
            over.set()
        outcomes = load.result()
    failed = {name: number for name, number in outcomes.items() if name != "answered"}
    told = ", ".join(f"{number} {name}" for name, number in failed.items()) or "none failed"
    return ["serving", "node lost", f"{outcomes.total():,} requests, {told}", "-", f"{recovered:.0f}"]


def _whole() -> bool:
    engine = serve.status().applications["ochat"].deployments["engine"]
    return bool(engine.replica_states.get("RUNNING", 0) == 2 and engine.status == "HEALTHY")


async def _load(over: threading.Event) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    asked = [question.text for question in questions()]

    async def client(number: int) -> None:
        turn = number
        async with openai.AsyncOpenAI(base_url="http://127.0.0.1:18888/v1", api_key="none") as api:
            while not over.is_set():
                messages: Any = [{"role": "user", "content": asked[turn % len(asked)]}]
                turn += 1
                try:
                    await api.chat.completions.create(model="openchat", messages=messages, max_tokens=48)
                    outcomes["answered"] += 1
                except openai.OpenAIError as error:
                    outcomes[type(error).__name__] += 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return outcomes


def _well(run: subprocess.Popen[bytes]) -> None:
    if run.wait(PATIENCE_S):
        raise RuntimeError(f"{run.args!r} ended with {run.returncode}")
