"""An OpenAI-compatible endpoint that is a model or a judge by script, counts requests, misbehaves as told."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

Say = Callable[[dict[str, Any], int], str]
"""The reply to a request that was asked so many times before."""


class Scripted:
    """`say` makes replies, `fault` responses in their place; `asked` counts each request by its body."""

    def __init__(self, say: Say, fault: Callable[[int], Response | None] = lambda _: None) -> None:
        self.say = say
        self.fault = fault
        self.asked: Counter[str] = Counter()
        self.calls = 0
        self.running = self.most_running = 0
        self.delay_s = 0.0
        self.logprobs: list[tuple[str, float | None]] = []
        self.usage: dict[str, int | None] | None = {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "total_tokens": 110,
        }
        self.api = FastAPI()
        self.api.add_api_route("/v1/chat/completions", self._answer, methods=["POST"])

    @property
    def answered(self) -> int:
        """Replies that were given."""
        return sum(self.asked.values())

    async def _answer(self, request: Request) -> Response:
        self.calls += 1
        fault = self.fault(self.calls)
        if fault is not None:
            return fault
        body = await request.json()
        key = json.dumps(body, sort_keys=True)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.running -= 1
        before = self.asked[key]
        self.asked[key] += 1
        text = self.say(body, before)
        first = {"token": "m", "logprob": 0.0, "bytes": None}
        tops = [{"token": token, "logprob": value, "bytes": None} for token, value in self.logprobs]
        logprobs = {"content": [{**first, "top_logprobs": tops}]} if self.logprobs else None
        message = {"role": "assistant", "content": text}
        completion = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}],
            "usage": self.usage,
        }
        return Response(json.dumps(completion), media_type="application/json")  # any text, in escapes


def refused(status: int, message: str = "no", **headers: str) -> Response:
    """An error in OpenAI's shape."""
    error = {"message": message, "type": "t", "param": None, "code": None}
    return JSONResponse({"error": error}, status, headers)


def cut_off() -> Response:
    """A reply that promises more than it sends."""

    async def half() -> Any:
        yield b'{"id": "x", "choices": ['
        raise ConnectionResetError

    return StreamingResponse(half(), media_type="application/json", headers={"content-length": "500"})


def model(quality: float) -> Say:
    """Answers that tell their own quality, other ones for other questions."""

    def say(body: dict[str, Any], _: int) -> str:
        asked = body["messages"][-1]["content"]
        noise = random.Random(asked + body["model"]).uniform(-1, 1)
        return f"An answer of {body['model']}. quality={quality + noise:.3f}"

    return say


def judge(bias: float, noise: float) -> Say:
    """Scores by the qualities that answers tell, with so much more for whoever is shown first, and noise that
    differs from sample to sample."""

    def say(body: dict[str, Any], before: int) -> str:
        text = body["messages"][-1]["content"]
        first, second = (float(found) for found in re.findall(r"quality=(-?[\d.]+)", text)[:2])
        chance = random.Random(f"{text}{before}")
        scores = [value + chance.gauss(0, noise) for value in (first + bias, second)]
        one, two = (min(10.0, max(1.0, value)) for value in scores)
        return f"The first is fine, the second too.\n[{one:.2f}, {two:.2f}]"

    return say
