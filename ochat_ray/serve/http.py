"""OpenAI's HTTP endpoints over served models. Knows nothing of Ray."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ochat_ray.config import ServeConfig
from ochat_ray.errors import RequestError
from ochat_ray.serve import chat, completions, embeddings
from ochat_ray.serve.account import Account
from ochat_ray.serve.engine.request import EngineDeadError, OverloadedError
from ochat_ray.serve.metrics import Metrics
from ochat_ray.serve.models import Models, ServedModel
from ochat_ray.serve.openapi import with_bodies
from ochat_ray.serve.protocol.chat import ChatRequest
from ochat_ray.serve.protocol.common import Body, Sampled, error_body, parse_body
from ochat_ray.serve.protocol.completions import CompletionRequest
from ochat_ray.serve.protocol.texts import DetokenizeRequest, EmbeddingRequest, TokenizeRequest
from ochat_ray.serve.web.handoff import Handoff
from ochat_ray.serve.web.widget import widget_router

LATER = {"Retry-After": "2"}  # seconds
ENDPOINTS = (
    "POST /v1/chat/completions, POST /v1/completions, POST /v1/embeddings, GET /v1/models, GET /health"
)
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
log = logging.getLogger("ray.serve")

Whole = Callable[[ServedModel, Any, Account], Awaitable[dict[str, Any]]]
Stream = Callable[[ServedModel, Any, Account], AsyncGenerator[dict[str, Any], None]]


def create_api(models: Models, config: ServeConfig) -> FastAPI:
    """All routes. Every error has OpenAI's shape."""
    # Serve traces; spans of FastAPI's own would be another trace, and hold the whole query.
    api = FastAPI(title="ochat-ray", docs_url="/docs", redoc_url=None, telemetry={"tracing": False})
    for kind in (Exception, HTTPException):
        api.add_exception_handler(kind, _on_error)
    metrics = Metrics()
    routes = _Routes(
        models, metrics, contents=config.access.log is not None and config.access.log.content != "none"
    )
    bodies: dict[str, type[BaseModel]] = {}

    def post(path: str, kind: type[Body], whole: Whole, stream: Stream | None = None) -> None:
        async def route(request: Request) -> Response:
            return await routes.answer(request, kind, whole, stream)

        bodies[path] = kind
        api.add_api_route(path, route, methods=["POST"], response_class=JSONResponse, name=kind.__name__)

    post("/v1/chat/completions", ChatRequest, chat.answer, chat.stream)
    post("/v1/completions", CompletionRequest, completions.complete, completions.stream)
    post("/v1/embeddings", EmbeddingRequest, embeddings.embed)
    post("/tokenize", TokenizeRequest, completions.tokenize)
    post("/detokenize", DetokenizeRequest, completions.detokenize)
    api.add_api_route("/v1/models", routes.models, methods=["GET"])
    api.add_api_route("/v1/models/{name:path}", routes.model, methods=["GET"])
    api.add_api_route("/health", routes.health, methods=["GET"])
    api.add_api_route("/ready", routes.ready, methods=["GET"])
    api.add_api_route("/metrics", routes.metrics, methods=["GET"], include_in_schema=False)
    api.add_api_route("/", _to_chat, methods=["GET"], include_in_schema=False)
    api.include_router(widget_router(config.widget))
    bodies["/widget/handoff"] = Handoff
    with_bodies(api, bodies, [card["id"] for card in models.cards()])
    return api


class _Routes:
    def __init__(self, models: Models, metrics: Metrics, *, contents: bool) -> None:
        self._models = models
        self._metrics = metrics
        self._contents = contents

    async def answer(
        self, request: Request, kind: type[Body], whole: Whole, stream: Stream | None
    ) -> Response:
        """A whole answer, a stream, or an error."""
        entry: dict[str, Any] = request.scope.setdefault("state", {}).setdefault("account", {})
        account = Account(entry, contents=self._contents)
        began = time.monotonic()
        self._metrics.began()

        over = False

        def ended(status: int) -> None:
            nonlocal over
            if not over:
                over = True
                self._metrics.ended(request.url.path, status, time.monotonic() - began, entry)

        status = 499  # nobody waits any more
        try:
            asked = parse_body(kind, await request.body())
            account.keep(asked)
            name = getattr(asked, "model", None)
            if isinstance(asked, Sampled) and asked.stream and stream is not None:
                entry["stream"] = True
                chunks = await self._models.call(name, lambda model: _begun(stream(model, asked, account)))
                events = _events(chunks, entry, ended)
                status = 0  # told by the stream
                return _Stream(events, chunks, ended)
            body = await self._models.call(name, lambda model: whole(model, asked, account))
            status = 200
            return JSONResponse(body)
        except Exception as error:
            fault = _fault_of(error)
            status = fault.status
            entry["error_code"] = fault.code
            return fault.response()
        finally:
            if status:
                ended(status)

    async def models(self) -> dict[str, Any]:
        """The names of the served models."""
        return {"object": "list", "data": self._models.cards()}

    async def model(self, name: str) -> Response:
        """One of them."""
        try:
            return JSONResponse(self._models.find(name).card(name))
        except RequestError as error:
            return _fault_of(error).response()

    async def health(self) -> Response:
        """200 with what the engines are doing; 503 where one does not answer."""
        try:
            engines = {one.name: asdict(await one.backend.stats()) for one in self._models.models}
        except Exception as error:
            return _fault_of(error).response()
        return JSONResponse({"status": "ok", "models": engines})

    async def ready(self) -> Response:
        """200 where requests can be answered, for load balancers."""
        answer = await self.health()
        return JSONResponse({"status": "ready"}) if answer.status_code == 200 else answer

    async def metrics(self) -> Response:
        """Prometheus' text format."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _to_chat(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/chat")


async def _begun(chunks: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[dict[str, Any], None]:
    """The same chunks, of which the first is there: whatever goes wrong before has a status of its own."""
    first = await anext(chunks)

    async def all_of_them() -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    return all_of_them()


class _Stream(StreamingResponse):
    """Ends its work with the response, also where the client left before it began."""

    def __init__(
        self,
        events: AsyncGenerator[str, None],
        chunks: AsyncGenerator[dict[str, Any], None],
        ended: Callable[[int], None],
    ) -> None:
        super().__init__(events, media_type="text/event-stream", headers=STREAM_HEADERS)
        self._generators = (events, chunks)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for generator in self._generators:
                await generator.aclose()
            self._ended(499)


async def _events(
    chunks: AsyncGenerator[dict[str, Any], None], entry: dict[str, Any], ended: Callable[[int], None]
) -> AsyncGenerator[str, None]:
    """Server-sent events; an error after the first byte is an event that ends the stream without [DONE]."""
    status = 499  # nobody waits any more
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield _event(chunk)
        yield "data: [DONE]\n\n"
        status = 200
    except Exception as error:
        fault = _fault_of(error)
        status = fault.status
        entry["error_code"] = fault.code
        yield "event: error\n" + _event(fault.body)
    finally:
        ended(status)


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def _on_error(request: Request, error: Exception) -> Response:
    """Errors of routing (unknown paths and methods), and whatever else escapes a route."""
    if isinstance(error, HTTPException):
        what = f"{request.method} {request.url.path}"
        body = error_body(f"{what}: {error.detail}; endpoints: {ENDPOINTS}", kind="invalid_request_error")
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)
    return _fault_of(error).response()


class _Fault(NamedTuple):
    """The answer to a request that failed."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] | None = None

    @property
    def code(self) -> str | None:
        code: str | None = self.body["error"]["code"]
        return code

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, status_code=self.status, headers=self.headers)


def _fault_of(error: Exception) -> _Fault:
    """The status and OpenAI error object of an exception; unexpected ones are logged and kept private."""
    if isinstance(error, RequestError):
        status = 404 if error.code == "model_not_found" else 400
        body = error_body(str(error), kind="invalid_request_error", param=error.param, code=error.code)
        return _Fault(status, body)
    if isinstance(error, OverloadedError):
        return _Fault(429, error_body(str(error), kind="rate_limit_error", code="rate_limit_exceeded"), LATER)
    if isinstance(error, EngineDeadError):
        text = f"{error}; it is being restarted, try again"
        return _Fault(503, error_body(text, kind="server_error", code="engine_unavailable"), LATER)
    if isinstance(error, TimeoutError):
        text = "the request took longer than this server allows"
        return _Fault(504, error_body(text, kind="server_error", code="timeout"))
    log.error("unexpected error", exc_info=error)
    text = "internal error; see the server's log"
    return _Fault(500, error_body(text, kind="server_error", code="internal_error"))
