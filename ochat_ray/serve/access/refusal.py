"""Refusing a request in OpenAI's shape, before the application sees it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from starlette.types import Scope, Send

from ochat_ray.serve.protocol.common import error_body

SMALL_BODY = 65536  # one that is likely here already


class Refusal:
    """A status and OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        self.status = status
        self.code = code
        self._body = json.dumps(error_body(message, kind=kind, code=code), ensure_ascii=False).encode()
        self._headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._body)).encode()),
            *headers,
        ]

    async def send(self, scope: Scope, send: Send, *, close: bool = False) -> None:
        """Answer with it. The connection ends with `close`, and where a large body may still come, which is
        then not read."""
        account(scope)["error_code"] = self.code
        headers = self._headers
        if close or body_may_be_large(scope):
            headers = [*headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


def account(scope: Scope) -> dict[str, Any]:
    """What routes and middlewares say of a request; see `watch.py`."""
    found: dict[str, Any] = scope["state"]["account"]
    return found


def body_length(scope: Scope) -> int | None:
    """Bytes of the body as the client says, 0 where there is none, None where it does not say."""
    length = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length" and value.isdigit():
            length = int(value)
    return length


def body_may_be_large(scope: Scope) -> bool:
    """Whether more may be on its way than what comes with the head."""
    length = body_length(scope)
    return length is None or length > SMALL_BODY
