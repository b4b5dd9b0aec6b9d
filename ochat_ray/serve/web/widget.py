"""What the endpoint answers for the widget. Keys and other origins are the access layer's business."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from ochat_ray.config.web import WidgetConfig
from ochat_ray.serve.protocol.common import error_body
from ochat_ray.serve.web.handoff import MAX_BODY, Handoff, HandoffError, Webhook

CACHE = "public, max-age=300"  # then one request that mostly answers 304
log = logging.getLogger("ray.serve")


def widget_router(config: WidgetConfig) -> APIRouter:
    """GET /widget.js, GET /widget/config and, with a webhook, POST /widget/handoff. Raises ConfigError."""
    router = APIRouter()
    script = Path(__file__).with_name("widget.js").read_bytes()
    etag = f'"{hashlib.sha256(script).hexdigest()[:32]}"'
    webhook = Webhook(config) if config.webhook else None

    @router.get("/widget.js")
    async def widget(request: Request) -> Response:
        headers = {"ETag": etag, "Cache-Control": CACHE, "Cross-Origin-Resource-Policy": "cross-origin"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(script, media_type="text/javascript", headers=headers)

    @router.get("/widget/config")
    async def settings() -> dict[str, Any]:
        return {"handoff": webhook is not None}

    @router.post("/widget/handoff")
    async def handoff(request: Request) -> Response:
        if webhook is None:
            return _error(404, "there is nobody to pass conversations on to: widget.webhook is not set")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                return _error(413, f"the conversation is longer than {MAX_BODY // 1024} KiB")
        try:
            asked = Handoff.model_validate_json(body)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, fault["loc"]))
            return _error(400, f"{place}: {fault['msg']}" if place else fault["msg"])
        try:
            return JSONResponse({"id": await webhook.send(asked)})
        except HandoffError as error:
            log.warning("a conversation was not passed on: %s", error)
            return _error(502, "the conversation could not be passed on; try again later")

    return router


def _error(status: int, message: str) -> JSONResponse:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return JSONResponse(error_body(message, kind=kind), status_code=status)
