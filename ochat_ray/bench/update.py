"""A new model takes over while clients ask all the while: does a request fail, and when do answers change?"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx2

from ochat_ray.bench import record
from ochat_ray.bench.serving import export_tiny, free_port
from ochat_ray.config import ServeConfig
from ochat_ray.config.serve import EngineConfig
from ochat_ray.config.web import ChatPageConfig
from ochat_ray.runtime import cluster

SHARE = 0.3
"""Of the requests, answered before the update begins."""


class Answer(NamedTuple):
    """When it was there, seconds of the monotonic clock; its HTTP status, 0 for none; what it says."""

    at_s: float
    status: int
    text: str


def main(argv: list[str]) -> None:
    """Ask, update, and tell."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench update", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="(default 10000)")
    parser.add_argument("--clients", type=int, default=64, help="(default 64)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name, cluster(min_cpus=4, private=True):
        from ochat_ray.serve.app import deploy, shutdown

        old = export_tiny(Path(name) / "old", {"layers": 1})
        new = export_tiny(Path(name) / "new", {"layers": 2})
        config = ServeConfig(
            port=free_port(),
            replicas=2,
            chat_page=ChatPageConfig(enabled=False),
            engine=EngineConfig(cache_tokens=16384, max_running=32),
        )
        url = deploy(old, config)
        answers: list[Answer] = []
        try:
            with ThreadPoolExecutor(1) as thread:
                before = asyncio.run(_ask(url, 1, 1, []))[0].text
                load = thread.submit(lambda: asyncio.run(_ask(url, args.requests, args.clients, answers)))
                while len(answers) < SHARE * args.requests and not load.done():
                    threading.Event().wait(0.05)
                began = time.monotonic()
                deploy(new, config)
                done = time.monotonic()
                load.result()
        finally:
            shutdown()
    record(f"A new model under {args.clients} clients, two replicas", _table(answers, before, began, done))


def _table(answers: list[Answer], before: str, began: float, done: float) -> str:
    good = [answer for answer in answers if answer.status == 200]
    texts = Counter(answer.text for answer in good)
    others = [answer for answer in good if answer.text != before]
    first_new = min((answer.at_s for answer in others), default=began)
    last_old = max(answer.at_s for answer in good if answer.text == before)
    rows = {
        "requests": f"{len(answers):,}",
        "failed": f"{len(answers) - len(good):,}",
        "different answers (greedy, one question)": f"{len(texts)}",
        "answers of the old model, of the new": f"{texts[before]:,}, {len(others):,}",
        "s from the update's begin to the first answer of the new model": f"{first_new - began:.1f}",
        "s to the last of the old": f"{last_old - began:.1f}",
        "s to the end of the update": f"{done - began:.1f}",
    }
    return "\n".join(
        ["| what | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    )


async def _ask(url: str, requests: int, clients: int, answers: list[Answer]) -> list[Answer]:
    """The same question so often, by so many clients, each one after the other; nothing is retried."""
    body = {
        "model": "openchat",
        "messages": [{"role": "user", "content": "What next?"}],
        "max_tokens": 8,
        "temperature": 0,
    }
    left = requests

    async def client(web: httpx2.AsyncClient) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            try:
                answer = await web.post(f"{url}/chat/completions", json=body)
                text = answer.json()["choices"][0]["message"]["content"] if answer.is_success else ""
                answers.append(Answer(time.monotonic(), answer.status_code, text))
            except (httpx2.HTTPError, ValueError, LookupError) as error:
                answers.append(Answer(time.monotonic(), 0, repr(error)))

    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(timeout=120, limits=limits) as web:
        await asyncio.gather(*(client(web) for _ in range(clients)))
    return answers
