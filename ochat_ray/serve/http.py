"""OpenAI's HTTP endpoints over a chat service. Knows nothing of Ray."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from ochat_ray.errors import RequestError
from ochat_ray.serve.chat import ChatService
from ochat_ray.serve.engine.request import EngineDeadError, OverloadedError
from ochat_ray.serve.protocol import ChatRequest, error_body, parse_request

RETRY_AFTER_S = 2
log = logging.getLogger("ray.serve")


def create_api(service: ChatService) -> FastAPI:
    """/v1/chat/completions, /v1/models and /health. Every error has OpenAI's shape."""
    api = FastAPI(title="ochat-ray", docs_url="/docs", redoc_url=None)
    for kind in (Exception, HTTPException):
        api.add_exception_handler(kind, _on_error)
    api.add_api_route("/health", _health(service), methods=["GET"], response_class=JSONResponse)
    card = {"id": service.model_name, "object": "model", "created": service.created, "owned_by": "ochat-ray"}

    @api.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card]}

    @api.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        try:
            service.check_model(name)
        except RequestError as error:
            return error_response(error)
        return JSONResponse(card)

    body = {"content": {"application/json": {"schema": ChatRequest.model_json_schema()}}, "required": True}

    @api.post("/v1/chat/completions", openapi_extra={"requestBody": body})
    async def chat_completions(request: Request) -> Response:
        try:
            asked = parse_request(await request.body())
            if not asked.stream:
                return JSONResponse(await service.answer(asked))
            chunks = service.stream(asked)
            # Whatever goes wrong before the first token still has a status of its own.
            first = await anext(chunks)
        except Exception as error:
            return error_response(error)
        events = _events(first, chunks)
        return StreamingResponse(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    return api


async def _events(first: dict[str, Any], rest: AsyncGenerator[dict[str, Any], None]) -> AsyncIterator[str]:
    """Server-sent events; an error after the first byte is an event that ends the stream without [DONE]."""
    async with aclosing(rest):
        try:
            yield _event(first)
            async for chunk in rest:
                yield _event(chunk)
        except Exception as error:
            yield "event: error\n" + _event(json.loads(bytes(error_response(error).body)))
            return
        yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _health(service: ChatService) -> Any:
    async def health() -> Response:
        """200 with what an engine is doing; 503 where none answers."""
        try:
            return JSONResponse({"status": "ok", **asdict(await service.backend.stats())})
        except Exception as error:
            return error_response(error)

    return health


async def _on_error(request: Request, error: Exception) -> Response:
    """Errors of routing (unknown paths and methods), and whatever else escapes a route."""
    if isinstance(error, HTTPException):
        what = f"{request.method} {request.url.path}"
        text = f"{what}: {error.detail}; endpoints: POST /v1/chat/completions, GET /v1/models, GET /health"
        body = error_body(text, kind="invalid_request_error", code=None)
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)
    return error_response(error)


def error_response(error: Exception) -> JSONResponse:
    """The status and OpenAI error object of an exception; unexpected ones are logged and kept private."""
    if isinstance(error, RequestError):
        status = 404 if error.code == "model_not_found" else 400
        body = error_body(str(error), kind="invalid_request_error", param=error.param, code=error.code)
        return JSONResponse(body, status_code=status)
    if isinstance(error, OverloadedError):
        body = error_body(str(error), kind="rate_limit_error", code="rate_limit_exceeded")
        return JSONResponse(body, status_code=429, headers={"Retry-After": str(RETRY_AFTER_S)})
    if isinstance(error, EngineDeadError):
        body = error_body(
            f"{error}; it is being restarted, try again", kind="server_error", code="engine_unavailable"
        )
        return JSONResponse(body, status_code=503, headers={"Retry-After": str(RETRY_AFTER_S)})
    if isinstance(error, TimeoutError):
        body = error_body(
            "the request took longer than this server allows", kind="server_error", code="timeout"
        )
        return JSONResponse(body, status_code=504)
    log.error("unexpected error", exc_info=error)
    body = error_body("internal error; see the server's log", kind="server_error", code="internal_error")
    return JSONResponse(body, status_code=500)
