"""Everything that stands before the endpoint, around an ASGI application."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ochat_ray.config.access import AccessConfig
from ochat_ray.serve.access.body import Body
from ochat_ray.serve.access.contents import Contents
from ochat_ray.serve.access.gate import Gate
from ochat_ray.serve.access.limiter import Limiter
from ochat_ray.serve.access.log_file import LogFile
from ochat_ray.serve.access.watch import Watch
from ochat_ray.serve.access.watched import WatchedKeys

# What probes, browsers and curious people ask for; `/*` stands for all below.
OPEN_PATHS = (
    *("/", "/health", "/ready", "/docs", "/openapi.json", "/favicon.ico"),
    *("/chat", "/chat/*", "/widget.js", "/widget/config"),
)
METRICS = "/metrics"
LIMIT_HEADERS = tuple(
    f"x-ratelimit-{what}-{kind}"
    for what in ("limit", "remaining", "reset")
    for kind in ("requests", "tokens")
)


def guard(
    app: ASGIApp,
    config: AccessConfig,
    *,
    open_paths: Collection[str] = OPEN_PATHS,
    answer_request_id: bool = True,
) -> ASGIApp:
    """The application behind keys, limits, CORS, limits of size and time, request ids and a log.

    `open_paths` need no key. Ray Serve's proxy puts the request's id on answers by itself: there
    `answer_request_id` is False. Raises ConfigError for a keys file, log or storage that cannot be used.
    """
    app = Body(app, max_mb=config.max_body_mb, timeout_s=config.body_timeout_s)
    if config.keys_file is not None:
        paths = [*open_paths, METRICS] if config.open_metrics else open_paths
        keys = WatchedKeys(Path(config.keys_file).expanduser())
        app = Gate(app, keys, Limiter(config.limits_storage), open_paths=paths)
    if config.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=config.cors_origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),  # OpenAI's client sends a dozen of its own
            expose_headers=("x-request-id", "retry-after", *LIMIT_HEADERS),
        )
    if config.log is None:
        return Watch(app, None, Contents("none"), answer_request_id=answer_request_id)
    file = LogFile(Path(config.log.path).expanduser(), max_mb=config.log.max_mb, backups=config.log.backups)
    return Watch(app, file, Contents(config.log.content), answer_request_id=answer_request_id)
