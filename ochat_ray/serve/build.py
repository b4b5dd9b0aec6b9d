"""Applications for Serve's own configuration files: `import_path: ochat_ray.serve.build:endpoint`.

`serve deploy cluster/serve.yaml` puts them up, and again after a change replaces what changed.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from ray import serve

from ochat_ray.config import ServeConfig
from ochat_ray.config.pool import Pool
from ochat_ray.config.web import ChatPageConfig
from ochat_ray.serve.app import build_app, folders_of, gpus_of
from ochat_ray.serve.web.deployment import chat_app
from ochat_ray.strict import StrictModel, parse


class EndpointArgs(StrictModel):
    """What `args` of the endpoint's application may say."""

    model: str
    """Folder that `ochat-ray train` exported, on storage that every node mounts."""
    also: dict[str, str] = Field({})
    """Further models, folders by the names to ask for."""
    surge: bool = True
    """Whether the cluster has or gets room for a new version beside the old one; without, the old one goes
    first."""
    serve: ServeConfig = ServeConfig()
    """As `serve` in a recipe; host and port are those of the file's http_options."""


class PageArgs(StrictModel):
    """What `args` of the chat page's application may say."""

    base_url: str = "http://127.0.0.1:18888/v1"
    """The endpoint, as the page's node reaches it."""
    page: ChatPageConfig = ChatPageConfig()
    """As `serve.chat_page` in a recipe."""
    pool: Pool | None = None
    """As `serve.pool` in a recipe."""


def endpoint(args: dict[str, Any]) -> serve.Application:
    """The endpoint, for the route /. Raises ConfigError for a wrong setting, CheckpointError for a folder."""
    asked = parse(EndpointArgs, args, "args of the endpoint")
    config = asked.serve.replace(access=asked.serve.access.resolved())
    folders = folders_of(asked.model, config, asked.also)
    return build_app(folders, config, gpus=gpus_of(config), surge=asked.surge)


def page(args: dict[str, Any]) -> serve.Application:
    """The chat page, for the route /chat. Raises ConfigError naming a wrong setting."""
    asked = parse(PageArgs, args, "args of the chat page")
    return chat_app(asked.page.resolved(), asked.base_url, asked.pool)
