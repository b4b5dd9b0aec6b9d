"""An application that answers as routes do, behind the guard on a port of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ochat_ray.config.access import AccessConfig
from ochat_ray.serve.access.guard import guard
from ochat_ray.serve.access.keys_file import add_key
from tests.serve.conftest import listening

DEADLINE_S = 60.0


def wait_for(what: Callable[[], Any]) -> Any:
    """What a call gives once that is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := what()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
    return found


class Application:
    """Routes that account for what the request's body says, and a stream that goes on when it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.go_on = asyncio.Semaphore(0)
        self.loop: asyncio.AbstractEventLoop | None = None
        paths = ["/", "/health", "/metrics", "/chat", "/chat/assets/a.js", "/chatter", "/v1/models"]
        self.asgi = Starlette(
            routes=[
                *(Route(path, self.told) for path in paths),
                Route("/v1/chat/completions", self.answer, methods=["POST"]),
                Route("/v1/stream", self.stream, methods=["POST"]),
                Route("/v1/broken", self.broken),
            ]
        )

    async def told(self, request: Request) -> Response:
        self.calls.append(request.url.path)
        return JSONResponse({"path": request.url.path})

    async def answer(self, request: Request) -> Response:
        self.calls.append(request.url.path)
        body = await request.body()
        with suppress(ValueError):
            request.state.account.update(json.loads(body))
        return JSONResponse({"bytes": len(body), "id": request.state.request_id})

    async def broken(self, _request: Request) -> Response:
        raise RuntimeError("a mistake")

    async def stream(self, request: Request) -> Response:
        """Chunk n counts n tokens, and comes when `next_chunk` is called."""
        self.loop = asyncio.get_running_loop()
        account = request.state.account
        account["prompt_tokens"] = 10

        async def chunks() -> AsyncIterator[str]:
            for number in range(1, 4):
                account["completion_tokens"] = number
                yield f"data: {number}\n\n"
                await self.go_on.acquire()

        return StreamingResponse(chunks(), media_type="text/event-stream")

    def next_chunk(self) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.go_on.release)


class Site:
    """The application behind the guard, and a client."""

    def __init__(self, application: Application, url: str, folder: Path) -> None:
        self.application = application
        self.url = url
        self.client = httpx2.Client(base_url=url, trust_env=False, timeout=DEADLINE_S)
        self._folder = folder

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def lines(self, count: int) -> list[dict[str, Any]]:
        """The log, once it has so many lines."""
        found: list[dict[str, Any]] = wait_for(lambda: len(self._read()) >= count and self._read())
        return found

    def _read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for file in sorted(self._folder.glob("log-*")) for line in file.open()]


@contextmanager
def guarded(folder: Path, **settings: Any) -> Iterator[Site]:
    """A site with these settings of access, and a log in the folder."""
    application = Application()
    log = {"path": str(folder / "log.jsonl"), **settings.pop("log", {})}
    config = AccessConfig.model_validate({"log": log, **settings})
    with listening(guard(application.asgi, config)) as url:
        site = Site(application, url, folder)
        with site.client:
            yield site


def with_key(folder: Path, **limits: Any) -> tuple[str, dict[str, str]]:
    """A keys file with a key of alice's, and the header that carries it."""
    path = folder / "keys.yaml"
    return str(path), bearer(add_key(path, "alice", **limits))


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
