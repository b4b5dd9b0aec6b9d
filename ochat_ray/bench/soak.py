"""Clients that leave midway and engines that are killed, for minutes: does anything leak or get lost?

Two engine replicas on Ray Serve, clients with random prompts, settings and patience, and a kill -9 of an
engine now and then. At the end every engine must be idle with all of its room free; the memory of the
processes is shown as time goes by.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import openai
import psutil

from ochat_ray.bench import record
from ochat_ray.bench.serving import export_model, free_port
from ochat_ray.config import ServeConfig
from ochat_ray.config.serve import EngineConfig
from ochat_ray.config.web import ChatPageConfig
from ochat_ray.runtime import cluster

CACHE = 16384  # tokens: small, so that requests push each other out
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "asks", "what", "next")
REST_S = 60.0  # for the last requests to end


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="(default 10)")
    parser.add_argument("--clients", type=int, default=12, help="(default 12)")
    parser.add_argument("--kill-every", type=float, default=45.0, help="seconds between kills (default 45)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        model = export_model(Path(folder))
        with cluster(min_cpus=2, private=True):
            from ochat_ray.serve.app import deploy, shutdown

            config = ServeConfig(
                port=free_port(),
                replicas=2,
                chat_page=ChatPageConfig(enabled=False),
                engine=EngineConfig(cache_tokens=CACHE, max_running=8),
            )
            url = deploy(model, config)
            try:
                table = _soak(url, args.minutes * 60, args.clients, args.kill_every)
            finally:
                shutdown()
    record(f"Soak: {args.minutes:g} minutes, {args.clients} clients that leave, engines killed", table)


def _soak(url: str, seconds: float, clients: int, kill_every: float) -> str:
    over = threading.Event()
    outcomes: Counter[str] = Counter()
    threads = [threading.Thread(target=_client, args=(url, n, over, outcomes)) for n in range(clients)]
    for thread in threads:
        thread.start()
    began, kills = time.monotonic(), 0
    memory: list[dict[str, float]] = [_memory()]
    while (passed := time.monotonic() - began) < seconds:
        over.wait(1.0)
        if passed > (kills + 1) * kill_every and passed < seconds - kill_every / 2:
            pids = _processes("ServeReplica:ochat:engine")
            if len(pids) == 2:
                os.kill(random.choice(pids), signal.SIGKILL)
                kills += 1
        if passed > len(memory) * seconds / 5:
            memory.append(_memory())
            print(f"{passed:.0f} s: {dict(outcomes)}, {memory[-1]}", flush=True)
    over.set()
    for thread in threads:
        thread.join()
    idle = _idle(url.removesuffix("/v1"))
    memory.append(_memory())
    rows = [f"| {name} | {count:,} |" for name, count in sorted(outcomes.items())]
    grown = {name: [f"{one.get(name, 0):.0f}" for one in memory] for name in memory[0]}
    rows += [f"| MB of {name}, over time | {', '.join(values)} |" for name, values in grown.items()]
    rows += [f"| engines killed | {kills} |", f"| idle in the end, with all room free | {idle} |"]
    return "\n".join(["| what | count |", "|---|---|", *rows])


def _client(url: str, number: int, over: threading.Event, outcomes: Counter[str]) -> None:
    rng = random.Random(number)
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)
    history: list[dict[str, Any]] = []
    while not over.is_set():
        if len(history) > 5 or rng.random() < 0.2:
            history = []
        history.append({"role": "user", "content": " ".join(rng.choices(WORDS, k=rng.randint(1, 120)))})
        settings: dict[str, Any] = {
            "temperature": rng.choice([0, 0.7, 1.3]),
            "max_tokens": rng.randint(1, 150),
        }
        settings |= rng.choice([{}, {"top_p": 0.9}, {"n": 2}, {"frequency_penalty": 1.0}, {"stop": ["a b"]}])
        patience = rng.choice([1, 5, 30, 10**6])  # chunks
        try:
            body: dict[str, Any] = {"model": "openchat", "messages": history, "stream": True, **settings}
            stream: Any = client.chat.completions.create(**body)
            for seen, _ in enumerate(stream, 1):
                if seen >= patience:
                    stream.close()
                    break
            outcomes["streams left" if seen >= patience else "streams read to the end"] += 1
            history.append({"role": "assistant", "content": "yes"})
        except openai.APIStatusError as error:
            outcomes[f"refused with {error.status_code}"] += 1
        except openai.APIError:
            outcomes["streams that ended in an error event"] += 1


def _idle(base: str) -> bool:
    """Whether both engines come to rest; each answer is one engine's."""
    deadline, calm = time.monotonic() + REST_S, 0
    while calm < 20 and time.monotonic() < deadline:
        (facts,) = httpx2.get(f"{base}/health", timeout=30).json()["models"].values()
        rests = facts["running"] == facts["waiting"] == 0 and facts["free_tokens"] == facts["cache_tokens"]
        calm = calm + 1 if rests else 0
        time.sleep(0.1)
    return calm >= 20


def _memory() -> dict[str, float]:
    kinds = {
        "ingress": "ServeReplica:ochat:ingress",
        "proxy": "ProxyActor",
        "engines": "ServeReplica:ochat:engine",
    }
    return {
        kind: sum(psutil.Process(pid).memory_info().rss for pid in _processes(title)) / 1e6
        for kind, title in kinds.items()
    }


def _processes(title: str) -> list[int]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if title in " ".join(process.cmdline()[:1]):
                found.append(process.pid)
        except psutil.Error:  # it has just ended
            continue
    return found
