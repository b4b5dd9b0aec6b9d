"""Nodes lost, drivers killed, the head restarted, in each stage: is the result the same, and at what cost?

The nodes are Ray's own of one machine, ended as a machine ends: all processes at once, unasked. The head
keeps its state in a Redis and is away for a while; the driver goes with it, as that of a submitted job does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
LOST, _, RESTARTED = FAULTS = ("node lost", "driver killed", "head restarted")
HEAD_AWAY_S = 10.0
HEAD_PORT = 6379
REDIS_PORT = 6380
KILL_AT = 50
"""Optimizer steps after which training is hit."""


class Nodes:
    """A head without CPUs, its Redis, and workers of 1 CPU; all but the Redis can be lost."""

    def __init__(self, work: Path, redis: str) -> None:
        self._redis = subprocess.Popen(
            [
                redis,
                *("--port", str(REDIS_PORT), "--bind", "127.0.0.1"),
                *("--save", "", "--logfile", f"{work}/redis.log"),
            ]
        )
        _until(partial(_listens, REDIS_PORT), "Redis")
        settings = {
            "RAY_AUTH_MODE": "disabled",
            "RAY_REDIS_ADDRESS": f"127.0.0.1:{REDIS_PORT}",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
        }
        os.environ.update(QUIET | settings)
        self._cluster = Cluster()
        self._start_head()
        self.workers = [self._add(), self._add()]
        self.address: str = self._cluster.address

    def _start_head(self) -> None:
        self._cluster.add_node(num_cpus=0, gcs_server_port=HEAD_PORT)

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, resources={"work": 1})

    def lose(self) -> None:
        """End the youngest worker at once, and bring up another."""
        self._cluster.remove_node(self.workers.pop(), allow_graceful=False)
        self.workers.append(self._add())

    def lose_head(self) -> None:
        """End the head at once, and bring it up again later."""
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)
        time.sleep(HEAD_AWAY_S)
        self._start_head()

    def stop(self) -> None:
        """End all."""
        self._cluster.shutdown()
        self._redis.terminate()
        self._redis.wait()


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
    redis = shutil.which("redis-server")
    if redis is None:
        sys.exit("this benchmark keeps the head's state in a Redis: install redis-server")
    work = args.output.resolve()
    if work.exists():
        sys.exit(f"{work}: is there already; remove it, or name another folder with --output")
    work.mkdir(parents=True)
    nodes = Nodes(work, redis)
    try:
        way = Way(nodes, work)
        for number in range(6):
            write_pages(way.pages / f"copy{number}" / "ShareGPT")
        base = [sys.executable, "-m", "ochat_ray", "base", str(way.base), *SMALL]
        subprocess.run(base, check=True, capture_output=True)
        rows = [*_data(nodes, way, work), *_training(nodes, way, work), *_serving(nodes, way, work)]
    finally:
        nodes.stop()
    head = ["stage", "fault", "result", "work done again", "s to recover"]
    table = [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]
    lines = [
        "Of data: how much longer than undisturbed. A head that is restarted is away for "
        f"{HEAD_AWAY_S:g} s, which are in its rows. Requests are short, of the `openai` client, which tries "
        "a failed one again twice.",
        "",
        *table,
    ]
    record("Faults: nodes lost, drivers killed, the head restarted", "\n".join(lines))


def _data(nodes: Nodes, way: Way, work: Path) -> list[list[str]]:
    _well(way.prepare(work / "data before"))  # the first starts workers and reads files that the others find
    began = time.monotonic()
    _well(way.prepare(work / "data"))
    undisturbed = time.monotonic() - began
    expected = _made(work / "data")
    rows = []
    for fault in FAULTS:
        output = work / f"data {fault}"
        began = time.monotonic()
        run = way.prepare(output)
        _until(partial(_begun, output), "a first part")
        _well(_strike(fault, nodes, run, again=partial(way.prepare, output)))
        more = time.monotonic() - began - undisturbed
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
    for fault in FAULTS:
        output = work / f"run {fault}"
        folders = Folders(output)
        run = way.train(data, output)
        _until(partial(_is_past, folders, KILL_AT), f"step {KILL_AT}")
        hit, step = time.monotonic(), _step(folders)
        run = _strike(fault, nodes, run, again=partial(way.train, data, output))
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


def _serving(nodes: Nodes, way: Way, work: Path) -> list[list[str]]:
    """Asked all the while with OpenAI's client, which tries a failed request again twice."""
    _well(way.start("serve", work / "run" / "model", *SERVE))
    return [_asked(LOST, partial(_node_lost, nodes)), _asked(RESTARTED, partial(_head_restarted, nodes))]


def _node_lost(nodes: Nodes) -> float:
    with _joined(nodes):
        hit = time.monotonic()
        nodes.lose()
        _until(lambda: not _whole(), "the loss to be noticed")
        _until(_whole, "two replicas")
    return time.monotonic() - hit


def _head_restarted(nodes: Nodes) -> float:
    hit = time.monotonic()
    nodes.lose_head()
    with _joined(nodes):
        _until(_whole, "two replicas as the new head sees them")
    return time.monotonic() - hit


@contextmanager
def _joined(nodes: Nodes) -> Iterator[None]:
    ray.init(nodes.address, namespace="ochat", log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def _asked(fault: str, strike: Callable[[], float]) -> list[str]:
    """The row of a fault under load; `strike` returns how long the endpoint took to be whole again."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        load = thread.submit(lambda: asyncio.run(_load(over)))
        try:
            time.sleep(CALM_S)
            recovered = strike()
            time.sleep(CALM_S)
        finally:
            over.set()
        outcomes = load.result()
    failed = {name: number for name, number in outcomes.items() if name != "answered"}
    told = ", ".join(f"{number} {name}" for name, number in failed.items()) or "none failed"
    return ["serving", fault, f"{outcomes.total():,} requests, {told}", "-", f"{recovered:.0f}"]


def _strike(
    fault: str, nodes: Nodes, run: subprocess.Popen[bytes], *, again: Callable[[], subprocess.Popen[bytes]]
) -> subprocess.Popen[bytes]:
    """The fault happens; returns the driver that goes on."""
    if fault == LOST:
        nodes.lose()
        return run
    run.kill()
    run.wait()
    if fault == RESTARTED:
        nodes.lose_head()
    return again()


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


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _well(run: subprocess.Popen[bytes]) -> None:
    if run.wait(PATIENCE_S):
        raise RuntimeError(f"{run.args!r} ended with {run.returncode}")
