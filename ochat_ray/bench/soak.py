"""Clients that leave midway and engines that are killed, for minutes: does anything leak or get lost?

Two engine replicas on Ray Serve, clients with random prompts, settings and patience, and a kill -9 of the
younger engine now and then; the older one lives from beginning to end, so that what it leaks is seen. At the
end every engine must be idle with all of its room free.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
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
SAMPLES = 60
OLDEST = "older engine"
WATCHED = {
    OLDEST: "ServeReplica:ochat:engine",
    "ingress": "ServeReplica:ochat:ingress",
    "proxy": "ProxyActor",
    "controller": "ServeController",
}
"""Names in the table, and in the titles of processes."""
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
    try:
        memory, kills = _watch(seconds, kill_every, outcomes)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    idle = _idle(url.removesuffix("/v1"))
    rows = [f"| {name} | {count:,} |" for name, count in sorted(outcomes.items())]
    for kind, sizes in memory.items():
        shown = ", ".join(f"{mb:.0f}" for mb in [*sizes[:: SAMPLES // 6], sizes[-1]])
        rows.append(
            f"| MB of the {kind}, over time (growth in the last half) | {shown} ({_growth(sizes):+.1%}) |"
        )
    rows += [f"| younger engines killed | {kills} |", f"| idle in the end, with all room free | {idle} |"]
    return "\n".join(["| what | count |", "|---|---|", *rows])


def _watch(
    seconds: float, kill_every: float, outcomes: Mapping[str, int]
) -> tuple[dict[str, list[float]], int]:
    """Memory over time, and how often the younger engine was killed. Raises RuntimeError where one of the
    others ends, too."""
    watched = {kind: _processes(title)[0] for kind, title in WATCHED.items()}
    memory: dict[str, list[float]] = {kind: [] for kind in WATCHED}
    began, kills = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        if passed >= len(memory[OLDEST]) * seconds / SAMPLES:
            for kind, process in watched.items():
                memory[kind].append(_megabytes(kind, process))
            now = {kind: round(mb[-1]) for kind, mb in memory.items()}
            print(f"{passed:.0f} s: {dict(outcomes)}, MB: {now}", flush=True)
        time.sleep(1.0)
        if passed > (kills + 1) * kill_every and passed < seconds - kill_every / 2:
            younger = [one for one in _processes(WATCHED[OLDEST]) if one != watched[OLDEST]]
            if younger:
                younger[-1].kill()
                kills += 1
    return memory, kills


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


def _megabytes(kind: str, process: psutil.Process) -> float:
    """Resident memory."""
    try:
        return float(process.memory_info().rss / 1e6)
    except psutil.NoSuchProcess:
        raise RuntimeError(f"the {kind} ended, which nobody asked of it") from None


def _growth(sizes: Sequence[float]) -> float:
    """What a line through the last half of the samples gains from its begin to its end, over its begin."""
    half = np.array(sizes[len(sizes) // 2 :])
    slope, begin = np.polyfit(np.arange(len(half)), half, 1)
    return float(slope * (len(half) - 1) / begin)


def _processes(title: str) -> list[psutil.Process]:
    """Those below this one whose title has this in it, the oldest first."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            if title in " ".join(process.cmdline()[:1]):
                found.append(process)
    return sorted(found, key=psutil.Process.create_time)
