"""Throughput and time to the first token by replicas and by clients, with Locust: where is the knee?

On a machine whose few cores all engines share, more replicas cannot compute more. So an engine can be made to
wait in each step as it would for a GPU of its own (--step-ms): then it is the way to the engines that is
measured (proxy, ingress, routing), and what it costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from ochat_ray.bench import record
from ochat_ray.bench.serving import export_tiny, free_port
from ochat_ray.config import ServeConfig
from ochat_ray.config.serve import EngineConfig
from ochat_ray.config.web import ChatPageConfig
from ochat_ray.runtime import cluster
from ochat_ray.serve import app
from ochat_ray.serve.engine.runner import Outputs, Runner
from ochat_ray.serve.engine.scheduler import Step
from ochat_ray.serve.replica import EngineReplica

REPLY = 32  # tokens
RUNNING = 4  # requests at a time in a replica: few, so that some wait
WAIT = "OCHAT_LOAD_STEP_MS"
KNEE = 0.9
"""Of the highest throughput."""


class Paced(EngineReplica):
    """An engine whose every step takes longer by what the environment says."""

    def __init__(self, model_dir: str, config: ServeConfig, gpu: bool) -> None:
        run, wait_s = Runner.run, float(os.environ[WAIT]) / 1e3

        def paced(self: Runner, step: Step) -> Outputs:
            time.sleep(wait_s)
            outputs: Outputs = run(self, step)
            return outputs

        Runner.run = paced  # type: ignore[method-assign]
        super().__init__(model_dir, config, gpu)


class Point(NamedTuple):
    """Of one number of clients: tokens a second, milliseconds to the first token, requests that failed."""

    rate: float
    median_ms: float
    p99_ms: float
    failed: int


def main(argv: list[str]) -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench load", description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4], help="(default 1 2 4)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], help="at a time")
    parser.add_argument(
        "--seconds",
        type=int,
        default=15,
        help="of each measurement, after as many of warming up (default 15)",
    )
    parser.add_argument(
        "--step-ms", type=float, default=0.0, help="that a step waits (default 0: only computes)"
    )
    args = parser.parse_args(argv)
    if find_spec("locust") is None:
        sys.exit("this benchmark asks with Locust: pip install --group load -c constraints.txt")
    os.environ[WAIT] = str(args.step_ms)
    found = {}
    with (
        tempfile.TemporaryDirectory() as name,
        cluster(min_cpus=max(args.replicas), private=True),
        patch.object(app, "EngineReplica", Paced),
    ):
        model = export_tiny(Path(name), {"layers": 1})
        for replicas in args.replicas:
            config = ServeConfig(
                port=free_port(),
                replicas=replicas,
                chat_page=ChatPageConfig(enabled=False),
                engine=EngineConfig(cache_tokens=16384, max_running=RUNNING),
            )
            url = app.deploy(model, config)
            try:
                _ask(url, RUNNING * replicas, 5)  # warms up
                for clients in args.clients:
                    found[replicas, clients] = point = _ask(url, clients, args.seconds)
                    print(f"{replicas} replica(s), {clients} client(s): {_cell(point)}", flush=True)
            finally:
                app.shutdown()
    waits = f"steps that wait {args.step_ms:g} ms" if args.step_ms else "steps that only compute"
    record(
        f"Load: replicas of {RUNNING} requests at a time, {waits}", _table(found, args.replicas, args.clients)
    )


def _ask(url: str, clients: int, seconds: int) -> Point:
    """All clients ask at once and go on; what is counted begins when they have done so for as long as is
    measured, since what came at once also waits at once."""
    command = [sys.executable, "-m", "locust", "--locustfile", str(Path(__file__).with_name("_load_user.py"))]
    command += ["--headless", "--loglevel=WARNING", f"--host={url}", f"--users={clients}"]
    # What was begun is waited for: cut off, the longest waits would be left out.
    command += [f"--spawn-rate={clients}", f"--run-time={2 * seconds}s", "--stop-timeout=120"]
    with tempfile.TemporaryDirectory() as name:
        times = Path(name) / "times.jsonl"
        env = {**os.environ, "OCHAT_LOAD_REPLY": str(REPLY), "OCHAT_LOAD_TIMES": str(times)}
        subprocess.run(command, env=env, check=True, capture_output=True)
        asked = [json.loads(line) for line in times.read_text().splitlines()]
    begin = min(one[0] for one in asked) + seconds
    good = [one for one in asked if one[2] is not None]
    whole = sum(begin <= end < begin + seconds for _, _, end in good)
    waits = [first - start for start, first, _ in good if begin <= start < begin + seconds]
    if not waits:
        raise RuntimeError(f"no reply in {seconds} s to {clients} clients: give it more with --seconds")
    median, p99 = np.quantile(waits, (0.5, 0.99), method="higher")
    return Point(whole * REPLY / seconds, median * 1e3, p99 * 1e3, len(asked) - len(good))


def _table(found: Mapping[tuple[int, int], Point], replicas: list[int], clients: list[int]) -> str:
    def best(number: int) -> float:
        return max(found[number, each].rate for each in clients)

    def knee(number: int) -> int:
        return min(each for each in clients if found[number, each].rate >= KNEE * best(number))

    lines = [
        "Tokens a second; milliseconds to the first token, median and 99th percentile (of few replies, the "
        f"longest). The knee: the fewest clients with {KNEE:.0%} of the highest throughput. {REPLY} tokens a "
        "reply, streamed.",
        "",
        "| clients | " + " | ".join(f"{number} replica(s)" for number in replicas) + " |",
        "|---" * (len(replicas) + 1) + "|",
    ]
    rows: dict[Any, list[str]] = {each: [_cell(found[one, each]) for one in replicas] for each in clients}
    rows["highest, times the first's"] = [
        f"{best(one):.0f}/s ({best(one) / best(replicas[0]):.2f}x)" for one in replicas
    ]
    rows["knee"] = [f"{knee(one)} clients" for one in replicas]
    rows["requests that failed"] = [str(sum(found[one, each].failed for each in clients)) for one in replicas]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())])


def _cell(point: Point) -> str:
    return f"{point.rate:.0f}/s, {point.median_ms:.0f} and {point.p99_ms:.0f} ms"
