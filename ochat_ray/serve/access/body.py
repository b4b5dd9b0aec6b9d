"""Takes in a request's body before the application starts: not more of it, nor more slowly, than is allowed.

The routes want the whole body anyway. Like this they never see one that is refused, and a client that sends
nothing costs no more than its connection.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ochat_ray.serve.access.refusal import Refusal, body_length

MB = 10**6


class TooLongError(Exception):
    """A body that is longer than allowed."""


class GoneError(Exception):
    """The client went away while it sent."""


class Body:
    """ASGI middleware: 413 for bodies that are too long, 408 for those that take too long."""

    def __init__(self, app: ASGIApp, *, max_mb: float, timeout_s: float) -> None:
        self._app = app
        self._max = int(max_mb * MB)
        self._timeout_s = timeout_s
        self._too_long = Refusal(
            413,
            f"the request body is longer than the {max_mb:g} MB that this server takes; send less",
            code="request_too_large",
        )
        self._too_slow = Refusal(
            408,
            f"the request body did not come within {timeout_s:g} s; send it again",
            code="request_timeout",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        length = body_length(scope) if scope["type"] == "http" else 0
        if length == 0:
            await self._app(scope, receive, send)
            return
        try:
            if length is not None and length > self._max:
                raise TooLongError
            async with asyncio.timeout(self._timeout_s):
                body = await self._read(receive)
        except TooLongError:
            await self._too_long.send(scope, send, close=True)
        except TimeoutError:
            await self._too_slow.send(scope, send, close=True)
        except GoneError:
            return
        else:
            await self._app(scope, _replayed(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        # Counted as it comes: a body in chunks has no length.
        parts = []
        taken = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            part = message.get("body", b"")
            taken += len(part)
            if taken > self._max:
                raise TooLongError
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
