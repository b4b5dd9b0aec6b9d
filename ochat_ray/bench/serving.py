"""What Serve and the HTTP side cost beside the bare engine, and what knowing a prompt's beginning saves.

One model four ways: requests given to an engine in this process; the same over HTTP to uvicorn in front of an
engine in one process; and over HTTP to Ray Serve, with one hop and with two. CPU seconds are those of the
processes that answer, not of the clients.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import psutil

from ochat_ray.bench import record
from ochat_ray.config import ServeConfig, load_recipe
from ochat_ray.config.serve import EngineConfig
from ochat_ray.config.web import ChatPageConfig
from ochat_ray.conversation import Message
from ochat_ray.exported import load_exported, write_chat_files
from ochat_ray.model_types import load_model_type
from ochat_ray.runtime import cluster
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer

REPLY = 64  # tokens
TURN = 1500  # tokens
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Turns(NamedTuple):
    """CPU seconds to the first token of each turn, and tokens of the first."""

    first: float
    second: float
    tokens: int


class Run(NamedTuple):
    """CPU seconds of the servers, wall seconds, tokens, and seconds to each first token."""

    cpu: float
    wall: float
    tokens: int
    first: list[float]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench serving", description=__doc__)
    parser.add_argument("--requests", type=int, default=64, help="of each measurement (default 64)")
    parser.add_argument("--rounds", type=int, default=2, help="(default 2)")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32], help="at a time")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        model = export_model(Path(folder))
        ways = {
            "engine": _bare,
            "uvicorn": _uvicorn,
            "Serve, one hop": _one_hop,
            "Serve, two hops": _two_hops,
        }
        runs: dict[tuple[str, int], list[Run]] = {}
        reuse: dict[str, Turns] = {}
        for name, way in ways.items():
            with way(model, max(args.streams)) as (ask, pids):
                asyncio.run(_ask_all(ask, 8, 8, pids))  # warms up
                for _ in range(args.rounds):
                    for streams in args.streams:
                        run = asyncio.run(_ask_all(ask, args.requests, streams, pids))
                        runs.setdefault((name, streams), []).append(run)
                        print(f"{name}, {streams} at a time: {run.cpu / run.tokens * 1e3:.2f} ms", flush=True)
                reuse[name] = asyncio.run(_second_turn(ask, pids, load_exported(model).template))
    record("Serving: what stands before the engine", _table(args.streams, runs, list(ways)))
    title = f"Serving: the second turn after {reuse['engine'].tokens:,} tokens"
    record(title, _reuse_table(reuse))


Ask = Callable[[list[dict[str, str]], int], AsyncIterator[int]]
Way = Callable[[Path, int], Any]


def export_model(folder: Path) -> Path:
    """A random Llama of 16 M parameters with the demo's tokenizer."""
    from ochat_ray.bench.engine import SHAPES

    hidden, intermediate, layers, heads = SHAPES["16M"]
    sizes = {"hidden_size": hidden, "intermediate_size": intermediate, "layers": layers, "heads": heads}
    return export_tiny(folder, {**sizes, "kv_heads": heads})


def export_tiny(folder: Path, sizes: Mapping[str, int]) -> Path:
    """A random Llama of these sizes (`base` of a recipe) with the demo's tokenizer."""
    from ochat_ray.train.base import make_tiny

    recipe = load_recipe("tiny-cpu", [f"base.{name}={value}" for name, value in sizes.items()])
    model = folder / "model"
    make_tiny(model, recipe)
    template = ChatTemplate(load_model_type(recipe.model_type), ChatTokenizer.load(model))
    write_chat_files(model, template, facts={})
    return model


def _config(streams: int, port: int = 18888, *, one_hop: bool = False) -> ServeConfig:
    return ServeConfig(
        port=port,
        one_hop=one_hop,
        chat_page=ChatPageConfig(enabled=False),
        engine=EngineConfig(max_running=streams, cache_tokens=32768),
    )


@contextmanager
def _bare(model: Path, streams: int) -> Iterator[tuple[Ask, list[int]]]:
    """The engine in this process: messages are rendered, token ids are not decoded."""
    import torch

    from ochat_ray.serve.engine.request import Generation
    from ochat_ray.serve.replica import EngineReplica

    replica = EngineReplica(str(model), _config(streams), gpu=False)
    template = load_exported(model).template
    torch.set_num_threads(1)

    async def ask(messages: list[dict[str, str]], reply: int) -> AsyncIterator[int]:
        ids = template.render_prompt([Message(m["role"], m["content"]) for m in messages])  # type: ignore[arg-type]
        async for chunk in replica.generate(Generation(ids, reply, min_tokens=reply)):
            yield len(chunk.token_ids)

    try:
        yield ask, [os.getpid()]
    finally:
        replica.close()


@contextmanager
def _uvicorn(model: Path, streams: int) -> Iterator[tuple[Ask, list[int]]]:
    """The same routes under uvicorn, engine and all in one process."""
    port = free_port()
    command = [sys.executable, "-m", "ochat_ray.bench._uvicorn", str(model), str(port), str(streams)]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url)
            yield _over_http(url), [process.pid]
        finally:
            process.terminate()


@contextmanager
def _serve(model: Path, streams: int, *, one_hop: bool) -> Iterator[tuple[Ask, list[int]]]:
    from ochat_ray.serve.app import deploy, shutdown

    port = free_port()
    with cluster(min_cpus=2, private=True):
        url = deploy(model, _config(streams, port, one_hop=one_hop)).removesuffix("/v1")
        family = psutil.Process().children(recursive=True)
        titles = {process.pid: " ".join(process.cmdline()[:1]) for process in family}
        answering = [pid for pid, title in titles.items() if "ServeReplica" in title or "ProxyActor" in title]
        try:
            yield _over_http(url), answering
        finally:
            shutdown()


def _one_hop(model: Path, streams: int) -> Any:
    return _serve(model, streams, one_hop=True)


def _two_hops(model: Path, streams: int) -> Any:
    return _serve(model, streams, one_hop=False)


def _over_http(url: str) -> Ask:
    async def ask(messages: list[dict[str, str]], reply: int) -> AsyncIterator[int]:
        body = {"model": "openchat", "messages": messages, "max_tokens": reply, "min_tokens": reply}
        body |= {"stream": True, "temperature": 0}
        async with (
            httpx2.AsyncClient(timeout=300) as client,
            client.stream("POST", f"{url}/v1/chat/completions", json=body) as response,
        ):
            if response.status_code != 200:
                raise RuntimeError(f"status {response.status_code}: {(await response.aread()).decode()}")
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    delta = json.loads(line[6:])["choices"][0]["delta"]
                    if "role" not in delta:
                        yield 1
        yield 0

    return ask


async def _ask_all(ask: Ask, requests: int, streams: int, pids: list[int]) -> Run:
    """So many requests, so many at a time; each has a prompt of its own."""
    limit = asyncio.Semaphore(streams)
    first: list[float] = []

    async def one(number: int) -> None:
        words = [LETTERS[(number * 7 + i * i) % 26] * (1 + i % 5) for i in range(40 + number % 60)]
        async with limit:
            began = time.monotonic()
            waiting = True
            async for _ in ask([{"role": "user", "content": " ".join(words)}], REPLY):
                if waiting:
                    first.append(time.monotonic() - began)
                    waiting = False

    cpu, wall = _cpu(pids), time.monotonic()
    await asyncio.gather(*(one(number) for number in range(requests)))
    return Run(_cpu(pids) - cpu, time.monotonic() - wall, requests * REPLY, first)


async def _second_turn(ask: Ask, pids: list[int], template: ChatTemplate) -> Turns:
    """A conversation of about 1,500 tokens, and its next turn, of one token each."""
    text = ""
    while (tokens := len(template.render_prompt([Message("user", text)]))) < TURN:
        text += " " + LETTERS[(len(text) ** 2 + 3) % 26] * (1 + len(text) % 4)
    history = [{"role": "user", "content": text}]
    took = []
    for _ in range(2):
        cpu = _cpu(pids)
        async for _count in ask(history, 1):
            pass
        took.append(_cpu(pids) - cpu)
        history += [{"role": "assistant", "content": "a"}, {"role": "user", "content": "and then?"}]
    return Turns(took[0], took[1], tokens)


def _cpu(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            httpx2.get(f"{url}/health").raise_for_status()
            return
        except httpx2.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _table(streams: list[int], runs: dict[tuple[str, int], list[Run]], ways: list[str]) -> str:
    lines = [
        "CPU milliseconds a token of the processes that answer, times the bare engine's; tokens a second of "
        "wall time; median milliseconds to the first token.",
        "",
        "| at a time | " + " | ".join(ways) + " |",
        "|---" * (len(ways) + 1) + "|",
    ]
    for number in streams:
        cells = []
        base = 0.0
        for way in ways:
            found = runs[way, number]
            cpu = statistics.median(run.cpu / run.tokens for run in found) * 1e3
            base = base or cpu
            speed = statistics.median(run.tokens / run.wall for run in found)
            first = statistics.median(one for run in found for one in run.first) * 1e3
            cells.append(f"{cpu:.2f} ms ({cpu / base:.2f}x), {speed:.0f}/s, {first:.0f} ms")
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _reuse_table(reuse: dict[str, Turns]) -> str:
    lines = ["| way | first turn | second turn | times less |", "|---|---|---|---|"]
    for way, (first, second, _) in reuse.items():
        times = f"{first / second:.0f}x" if second else "below the clock's tick"
        lines.append(f"| {way} | {first * 1e3:.0f} CPU ms | {second * 1e3:.0f} CPU ms | {times} |")
    return "\n".join(lines)
