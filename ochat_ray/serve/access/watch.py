"""Gives each request an id, and writes a line about it when it is over.

`scope["state"]` gets `request_id`, `key` (its holder's name, once known) and `account`, a dict that routes
fill before the end of the answer with what they know: model, stream, prompt_tokens, completion_tokens,
cached_tokens, first_token_s (seconds from the request to the first token), finish_reason, error_code, and for
the log of contents messages (a list of `{"role", "content"}`) and reply (a text, or a list of them).
"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ochat_ray.serve import tracing
from ochat_ray.serve.access.contents import Contents
from ochat_ray.serve.access.log_file import LogFile
from ochat_ray.serve.access.request_id import request_id

# Whoever asks every few seconds whether all is well would fill the log.
PROBES = ("/health", "/ready", "/metrics")
COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens")
FACTS = ("model", "stream", *COUNTS, "finish_reason", "error_code")


class Watch:
    """ASGI middleware, the outermost."""

    def __init__(
        self, app: ASGIApp, log: LogFile | None, contents: Contents, *, answer_request_id: bool
    ) -> None:
        self._app = app
        self._log = log
        self._contents = contents
        self._answer_request_id = answer_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            if self._log is not None:
                self._log.close()
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        one = request_id(given)
        state: dict[str, Any] = {**scope.get("state", {}), "request_id": one, "key": None, "account": {}}
        scope = {**scope, "state": state}
        exchange = _Exchange(receive, send, one if self._answer_request_id else None)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:  # so servers tell an application that nobody waits any more
            exchange.gone()
            raise
        except Exception:
            exchange.status = exchange.status or 500
            raise
        finally:
            exchange.end()
            traced = tracing.tell(state["account"])
            if self._log is not None and scope["type"] == "http":
                self._write(self._log, scope, state, exchange, traced)

    def _write(
        self, log: LogFile, scope: Scope, state: dict[str, Any], exchange: _Exchange, traced: str | None
    ) -> None:
        path, status = scope["path"], exchange.status
        if path in PROBES and status is not None and status < 400:
            return
        account, client = state["account"], scope.get("client")
        first_s = account.get("first_token_s")
        log.write(
            {
                "time": exchange.began.isoformat(timespec="milliseconds"),
                "request_id": state["request_id"],
                **({} if traced is None else {"trace_id": traced}),
                "process": os.getpid(),
                "key": state["key"],
                "client": client[0] if client else None,
                "method": scope["method"],
                "path": path,
                "status": status,
                "duration_ms": round(exchange.duration_s * 1000, 1),
                "first_token_ms": None if first_s is None else round(first_s * 1000, 1),
                **{name: account.get(name) for name in FACTS},
                "disconnect": exchange.disconnected,
                **self._contents.of(account),
            }
        )


class _Exchange:
    """A request and its answer, as they pass."""

    __slots__ = (
        "_header",
        "_over",
        "_receive",
        "_send",
        "_started",
        "began",
        "disconnected",
        "duration_s",
        "status",
    )

    def __init__(self, receive: Receive, send: Send, answered_id: str | None) -> None:
        self._receive = receive
        self._send = send
        self._header = None if answered_id is None else (b"x-request-id", answered_id.encode())
        self._started = time.perf_counter()
        self._over = False
        self.began = datetime.now(UTC)
        self.duration_s = 0.0
        self.status: int | None = None
        self.disconnected = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._header is not None:
                headers = [pair for pair in message.get("headers", ()) if pair[0] != b"x-request-id"]
                message = {**message, "headers": [*headers, self._header]}
        elif not message.get("more_body"):
            self.end()
        try:
            await self._send(message)
        except OSError:
            self.disconnected = True
            raise

    def gone(self) -> None:
        """The client went away; a server also says so once the answer is out."""
        self.disconnected = self.disconnected or not self._over

    def end(self) -> None:
        """The answer is out, or the application is done without."""
        if not self._over:
            self._over = True
            self.duration_s = time.perf_counter() - self._started
