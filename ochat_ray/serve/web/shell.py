"""What a browser may do with the chat page, around Gradio's own application.

Only the paths that the page needs are answered: Gradio's uploads, proxies, API pages and the like are not. A
content security policy lets nothing be loaded from other hosts, not even a picture that a model's Markdown
names, and runs only scripts that the server wrote.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCRIPT = "/page.js"
MAX_BODY = 16 * 2**20  # bytes of an event, which has the whole conversation in it
ALLOWED = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/static/.*|/assets/.*"
    r"|/gradio_api/(queue/(join|data)|heartbeat/\w+|cancel|reset|startup-events|app_id|theme\.css)"
)
ELSEWHERE = re.compile(rb'<link rel="manifest"[^>]*>|<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')
POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'"
)


class Shell:
    """An ASGI application around Gradio's."""

    def __init__(self, page: App) -> None:
        self._page = page
        self._script = Path(__file__).with_name("page.js")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._page(scope, receive, send)
            return
        root = scope.get("root_path", "")
        path = scope["path"]
        path = path[len(root) :] if root and path.startswith(root) else path
        if not path:  # the page's own links are relative to a folder
            await RedirectResponse(f"{root}/")(scope, receive, send)
        elif path == SCRIPT:
            headers = {"Cache-Control": "no-cache"}
            await FileResponse(self._script, media_type="text/javascript", headers=headers)(
                scope, receive, send
            )
        elif not ALLOWED.fullmatch(path):
            await PlainTextResponse("not found", status_code=404)(scope, receive, send)
        elif scope["method"] == "POST" and not 0 <= _length(scope) <= MAX_BODY:
            await PlainTextResponse("too long", status_code=413)(scope, receive, send)
        elif path == "/":
            await self._html(scope, receive, send)
        else:
            await self._page(scope, receive, _with_headers(send, {}))

    async def _html(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page itself, whose scripts get the nonce that the policy asks for."""
        nonce = secrets.token_urlsafe(16)
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        start: MutableMapping[str, Any] = {}
        body = b""

        async def collect(message: MutableMapping[str, Any]) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")

        await self._page({**scope, "headers": plain}, receive, collect)
        if scope["method"] == "GET":
            head = f'<link rel="icon" href="data:,"><script src=".{SCRIPT}"></script></head>'.encode()
            body = ELSEWHERE.sub(b"", body).replace(b"</head>", head, 1)
            body = body.replace(b"<script", f'<script nonce="{nonce}"'.encode())
            start["headers"] = [h for h in start["headers"] if h[0].lower() != b"content-length"]
            start["headers"].append((b"content-length", str(len(body)).encode()))
        extra = {"Content-Security-Policy": POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
        await _with_headers(send, extra)(start)
        await send({"type": "http.response.body", "body": body})


def _length(scope: Scope) -> int:
    """What a request says of its length; -1 for nothing, though browsers always say it."""
    said = dict(scope["headers"]).get(b"content-length", b"")
    return int(said) if said.isdigit() else -1


def _with_headers(send: Send, extra: dict[str, str]) -> Send:
    fixed = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", **extra}
    lines = [(name.lower().encode(), value.encode()) for name, value in fixed.items()]

    async def with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            ours = {name for name, _ in lines}
            kept = [header for header in message.get("headers", []) if header[0].lower() not in ours]
            message = {**message, "headers": [*kept, *lines]}
        await send(message)

    return with_headers
