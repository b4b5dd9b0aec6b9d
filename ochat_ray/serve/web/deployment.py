"""The chat page as a Ray Serve application of its own."""

from __future__ import annotations

from typing import Any

from ray import serve

from ochat_ray.config.web import ChatPageConfig
from ochat_ray.serve.placement import light_options
from ochat_ray.serve.web.application import chat_asgi

NAME = "chat-page"
MAX_STREAMS = 2000  # an open page holds one, and an answer another


@serve.ingress()
class ChatPage:
    """The page in one replica: a browser's events and their answers meet in one process."""

    def __init__(self, config: ChatPageConfig, base_url: str) -> None:
        self._config = config
        self._base_url = base_url

    def __serve_build_asgi_app__(self) -> Any:
        return chat_asgi(self._config, self._base_url)


def chat_app(config: ChatPageConfig, base_url: str, pool: str | None, **options: Any) -> serve.Application:
    """The application for the route /chat, on nodes of the `pool`. `options` of the deployment, e.g. its
    logging."""
    deployment = serve.deployment(
        ChatPage,
        name=NAME,
        num_replicas=1,
        max_ongoing_requests=MAX_STREAMS,
        ray_actor_options=light_options(pool),
        max_surge_percent=100,
        graceful_shutdown_timeout_s=5,
        max_constructor_retry_count=1,
        **options,
    )
    return deployment.bind(config, base_url)
