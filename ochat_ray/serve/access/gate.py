"""Asks for a key where there are keys, and holds each key to its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ochat_ray.serve.access.keys import Holder
from ochat_ray.serve.access.limiter import Limiter, Standing
from ochat_ray.serve.access.refusal import Refusal, account
from ochat_ray.serve.access.watched import WatchedKeys
from ochat_ray.serve.access.windows import MINUTE_S, retry_after

MISSING = Refusal(
    401,
    "no API key: send one as `Authorization: Bearer KEY`",
    code="missing_api_key",
    headers=[(b"www-authenticate", b"Bearer")],
)
WRONG = Refusal(
    401,
    "this API key is not known here, or not any more",
    code="invalid_api_key",
    headers=[(b"www-authenticate", b'Bearer error="invalid_token"')],
)


class Gate:
    """ASGI middleware: 401 without a key, 429 beyond its limits, `x-ratelimit-*` on every other answer."""

    def __init__(
        self, app: ASGIApp, keys: WatchedKeys, limiter: Limiter, *, open_paths: Collection[str]
    ) -> None:
        self._app = app
        self._keys = keys
        self._limiter = limiter
        self._open = frozenset(path for path in open_paths if not path.endswith("/*"))
        self._open_below = tuple(path.removesuffix("*") for path in open_paths if path.endswith("/*"))
        self._charging: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        presented = bearer(scope)
        holder = None if presented is None else self._keys.current().find(presented)
        if holder is None or holder.key.expired():
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await (MISSING if presented is None else WRONG).send(scope, send)
            return
        scope["state"]["key"] = holder.name
        standing = await self._limiter.admit(holder)
        if standing.refused is not None:
            await _too_many(holder, standing).send(scope, send)
        elif standing.key.requests_per_minute is None and standing.key.tokens_per_minute is None:
            await self._app(scope, receive, send)
        else:
            await self._counted(holder, standing, scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return path in self._open or path.startswith(self._open_below)

    async def _counted(
        self, holder: Holder, standing: Standing, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Call the application; what it used is charged before the client can know that all is there, and
        whatever happens."""
        said = account(scope)
        charged = 0

        def charge() -> asyncio.Task[None] | None:
            nonlocal charged
            used = (said.get("prompt_tokens") or 0) + (said.get("completion_tokens") or 0)
            more, charged = used - charged, max(used, charged)
            if more <= 0 or holder.key.tokens_per_minute is None:
                return None
            # A task of its own goes on where this one is cancelled.
            task = asyncio.create_task(self._limiter.charge(holder, more))
            self._charging.add(task)
            task.add_done_callback(self._charging.discard)
            return task

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                task = charge()
                message = {**message, "headers": [*message.get("headers", ()), *standing.headers(charged)]}
            elif message.get("more_body"):
                task = None
            else:
                task = charge()
            if task is not None:
                await asyncio.shield(task)
            await send(message)

        try:
            await self._app(scope, receive, counting)
        finally:
            charge()


def bearer(scope: Scope) -> bytes | None:
    """The key that a request carries, as it came."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = bytes(value).partition(b" ")
            return key.strip() or None if scheme.lower() == b"bearer" else None
    return None


def _too_many(holder: Holder, standing: Standing) -> Refusal:
    requests = standing.refused == "requests"
    limit = holder.key.requests_per_minute if requests else holder.key.tokens_per_minute
    seconds = retry_after(min(standing.wait_s, 2.0 * MINUTE_S))
    return Refusal(
        429,
        f"{holder.name} has used up its {limit:,} {standing.refused} a minute; try again in {seconds} s",
        kind=standing.refused or "",
        code="rate_limit_exceeded",
        headers=[(b"retry-after", seconds.encode()), *standing.headers()],
    )
