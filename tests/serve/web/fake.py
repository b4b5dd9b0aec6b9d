"""An OpenAI-compatible endpoint that says what it is told, as slowly as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

KEY = "right-key"
POLL_S = 0.01
RICH = """Here is **bold** text, a table and code.

| name | value |
| --- | --- |
| one | 1 |

```python
def double(x):
    return 2 * x  # twice
```

The sum is $a^2 + b^2 = c^2$.
"""
NASTY = (
    '<img src=x onerror="window.hacked = 1"><script>window.hacked = 2</script>'
    '<svg onload="window.hacked = 3"></svg> [link](javascript:window.hacked=4) '
    "![far](http://far.invalid/pixel.png) and the end"
)


class Fake:
    """What it was asked, and what it waits for: `HOLD` in a question stops the answer until `go`."""

    def __init__(self, *, needs_key: bool = False) -> None:
        self.needs_key = needs_key
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.left = 0  # answers that nobody waited for
        self.go = False
        self.api = FastAPI()
        self.api.add_api_route("/v1/models", self._models, methods=["GET"])
        self.api.add_api_route("/v1/chat/completions", self._answer, methods=["POST"])

    def _refused(self, request: Request) -> Response | None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.keys.append(key)
        if self.needs_key and key != KEY:
            return _error(401, "the key is <unknown>")
        return None

    async def _models(self, request: Request) -> Response:
        cards = [{"id": "model-a", "conditions": ["Code", "Math Correct"]}, {"id": "model-b"}]
        known = [{**card, "object": "model", "created": 0, "owned_by": "us"} for card in cards]
        return self._refused(request) or JSONResponse({"object": "list", "data": known})

    async def _answer(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused:
            return refused
        body = await request.json()
        self.asked.append(body)
        question = body["messages"][-1]["content"]
        if question.startswith("FAIL "):
            return _error(int(question.split()[1]), "it <b>failed</b>")
        return StreamingResponse(self._events(question), media_type="text/event-stream")

    async def _events(self, question: str) -> AsyncIterator[str]:
        finished = False
        try:
            for piece in self._pieces(question):
                yield _event({"role": "assistant", "content": piece})
                await asyncio.sleep(0)
                while "HOLD" in question and not self.go:
                    await asyncio.sleep(POLL_S)
            if question.startswith("BREAK"):
                yield 'event: error\ndata: {"error": {"message": "engine gone", "type": "server_error"}}\n\n'
            else:
                yield "data: [DONE]\n\n"
            finished = True
        finally:
            self.left += not finished

    def _pieces(self, question: str) -> list[str]:
        known = {"RICH": RICH, "NASTY": NASTY}
        text = known.get(question.split()[0], f"Answer {len(self.asked)} to: {question} (end)")
        return [text[start : start + 12] for start in range(0, len(text), 12)]


def _event(delta: dict[str, str]) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n"


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "t", "param": None, "code": None}}, status)
