"""The whole way on a cluster that starts with no nodes: which come, when they go, whether a request fails.

The nodes are fake (processes of this machine), the autoscaler is Ray's. GPU nodes have logical GPUs only:
work finds them by their pools and computes on CPUs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import ray

from ochat_ray.bench import record
from ochat_ray.bench._alone import alone
from ochat_ray.bench._fake_cluster import FakeCluster
from ochat_ray.bench._timeline import timeline
from ochat_ray.bench._until import until
from ochat_ray.nodes import NodeWatch, Sample
from ochat_ray.sample import questions, write_pages
from ochat_ray.stages import StageLog, told

TYPES = {
    "cpu": (2, {"CPU": 2}),
    "train": (2, {"CPU": 1, "GPU": 8, "ochat_train": 1}),
    "serve": (3, {"CPU": 1, "GPU": 1, "ochat_serve": 1}),
}
NAMES = {"2 CPU": "data (2 CPU)", "8 GPU 1 CPU": "training (8 GPU)", "1 GPU 1 CPU": "serving (1 GPU)"}
DATA, TRAIN, SERVE = NAMES
RECIPE = [
    "--recipe=tiny-cpu",
    "base.layers=2",
    "train.epochs=30",
    "train.num_workers=2",
    "train.use_gpu=false",
    "train.pool=ochat_train",
    "serve.pool=ochat_serve",
    "serve.gpus_per_replica=0",
    "serve.max_queued=256",
    "serve.autoscaling.min_replicas=1",
    "serve.autoscaling.max_replicas=3",
    "serve.autoscaling.target_requests=4",
    "serve.autoscaling.upscale_delay_s=2",
    "serve.autoscaling.downscale_delay_s=5",
    "serve.chat_page.enabled=false",
]
URL = "http://127.0.0.1:18888/v1"
PATIENCE_S = 150.0
_until = partial(until, patience_s=PATIENCE_S)
CLIENTS = 24
TOKENS = 48


def main(words: list[str]) -> None:
    """Run the pipeline and a burst of requests under each version of the autoscaler."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench autoscaling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the burst")
    parser.add_argument("--output", type=Path, default=Path("autoscaling"), help="folder for the pictures")
    parser.add_argument("--only", type=int, choices=(1, 2), help="one version of the autoscaler")
    args = parser.parse_args(words)
    alone()
    work = args.output.resolve() / "work"
    if work.exists():
        sys.exit(f"{work}: is there already; remove it, or name another folder with --output")
    rows = []
    for version in (args.only,) if args.only else (1, 2):
        cluster = FakeCluster(work, TYPES, version=version)
        try:
            cluster.wait()
            rows.append(_run(cluster, work, version, args))
        finally:
            ray.shutdown()
            cluster.stop()
        shutil.rmtree(work, ignore_errors=True)
    head = ["autoscaler", "data", "training", "nodes of training gone after", "serving", "after the burst"]
    head += ["requests", "failed", "node-hours of data, training"]
    lines = [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]
    record("Nodes that come and go: the pipeline and a burst of requests", "\n".join(lines))


def _run(cluster: FakeCluster, work: Path, version: int, args: argparse.Namespace) -> list[str]:
    pages, base, out = work / "pages", work / "base", work / "out"
    write_pages(pages / "ShareGPT")
    python = [sys.executable, "-m", "ochat_ray"]
    subprocess.run([*python, "base", base, "--recipe=tiny-cpu", "base.layers=2"], check=True)
    os.environ.update(cluster.env)
    ray.init("127.0.0.1:6379", namespace="ochat", log_to_driver=False)
    with NodeWatch() as watch:
        marks = {"submitted": time.monotonic()}
        with subprocess.Popen(
            [*python, "submit", "pipeline", pages, out, "--base", base, *RECIPE], env=cluster.env
        ) as job:
            log = StageLog(out)
            for stage in ("data", "train"):
                try:
                    _until(partial(_ended, log, stage, job), f"{stage} to end")
                except RuntimeError:
                    job.kill()  # it would follow the job for ever
                    raise
                marks[f"{stage} done"] = time.monotonic()
            if job.wait(PATIENCE_S):
                raise RuntimeError(f"the pipeline failed; see {cluster.log}")
        marks["served"] = time.monotonic()
        answers = asyncio.run(_burst(args.seconds))
        marks["burst over"] = time.monotonic()
        _until(lambda: not watch.samples[-1].nodes.get(TRAIN), "nodes of training to go")
        _until(lambda: watch.samples[-1].nodes.get(SERVE) == 1, "nodes of serving to go")
        time.sleep(5)  # for the picture to show it
    picture = args.output / f"nodes-v{version}.svg"
    picture.write_text(timeline(watch.samples, marks, NAMES, f"Nodes of the pipeline, autoscaler v{version}"))
    print(f"nodes over time in {picture}", flush=True)
    gone = next(s.at_s for s in watch.samples if s.at_s > marks["train done"] and not s.nodes.get(TRAIN))
    calm = next(s.at_s for s in watch.samples if s.at_s > marks["burst over"] and s.nodes.get(SERVE) == 1)
    failed = sum(number for status, number in answers.items() if status != 200)
    hours = {stage: log.read()[stage]["node_hours"] for stage in ("data", "train")}
    return [
        f"v{version}",
        _most(watch.samples, DATA),
        _most(watch.samples, TRAIN),
        f"{gone - marks['train done']:.0f} s",
        _most(watch.samples, SERVE),
        f"1 after {calm - marks['burst over']:.0f} s",
        f"{answers.total():,}",
        f"{failed:,}",
        "; ".join(told(one) for one in hours.values()),
    ]


def _most(samples: list[Sample], kind: str) -> str:
    return f"0 to {max(sample.nodes.get(kind, 0) for sample in samples)} nodes"


def _ended(log: StageLog, stage: str, job: subprocess.Popen[bytes]) -> bool:
    return stage in log.read() or job.poll() is not None


async def _burst(seconds: float) -> Counter[int]:
    """Statuses of chat completions that so many clients asked for, one after the other each."""
    import httpx2

    end = time.monotonic() + seconds
    answers: Counter[int] = Counter()
    asked = [question.text for question in questions()]

    async def client(number: int) -> None:
        turn = number
        while time.monotonic() < end:
            body = {
                "model": "openchat",
                "messages": [{"role": "user", "content": asked[turn % len(asked)]}],
                "max_tokens": TOKENS,
            }
            turn += 1
            try:
                answer = await web.post(f"{URL}/chat/completions", json=body)
                json.loads(answer.content)
                answers[answer.status_code] += 1
            except (httpx2.HTTPError, ValueError):
                answers[0] += 1

    limits = httpx2.Limits(max_connections=CLIENTS)
    async with httpx2.AsyncClient(timeout=120, limits=limits) as web:
        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return answers
