"""A conversation passed on to a person: one POST to a webhook, which may be signed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import time
import uuid
from typing import Annotated, Literal
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ConfigDict, Field

from ochat_ray.config.web import WidgetConfig
from ochat_ray.errors import ConfigError, OchatError

MAX_BODY = 256 * 1024  # bytes
ATTEMPTS = 3
WAIT_S = 0.5  # before the second attempt; twice as long before the third
TIMEOUT_S = 5.0  # of an attempt
SIGNATURE = "X-Ochat-Signature"


class HandoffError(OchatError):
    """The webhook did not take a conversation."""


class Turn(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["user", "assistant"]
    content: str


class Handoff(BaseModel):
    """What the widget sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    conversation: Annotated[list[Turn], Field(max_length=1000)]
    contact: Annotated[str, Field(max_length=500)] = ""
    """How the visitor wants to be answered, in their words."""
    page: Annotated[str, Field(max_length=2000)] = ""
    """Address of the page with the widget."""


class Webhook:
    """A configured webhook. Raises ConfigError where the secret is not in the environment."""

    def __init__(self, config: WidgetConfig) -> None:
        assert config.webhook is not None
        self._url = config.webhook
        self._secret = None
        if config.secret_env is not None:
            secret = os.environ.get(config.secret_env)
            if not secret:
                raise ConfigError(
                    f"widget.secret_env: the environment variable {config.secret_env} is not set where the "
                    "endpoint runs; set it there, or leave widget.secret_env out"
                )
            self._secret = secret.encode()

    async def send(self, handoff: Handoff) -> str:
        """Deliver a conversation; returns its id, by which a receiver knows one that came twice.

        Tries again after time-outs, lost connections and answers of 429 or 5xx. Raises HandoffError.
        """
        found = {"id": uuid.uuid4().hex, "time": int(time.time()), **handoff.model_dump()}
        body = json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json"}
        if self._secret is not None:
            headers[SIGNATURE] = f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}"
        problem = ""
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
            for attempt in range(ATTEMPTS):
                if attempt:
                    await asyncio.sleep(WAIT_S * 2 ** (attempt - 1))
                try:
                    response = await client.post(self._url, content=body, headers=headers)
                except httpx2.HTTPError as error:
                    problem = str(error) or type(error).__name__
                    continue
                if response.is_success:
                    return str(found["id"])
                problem = f"status {response.status_code}"
                if response.status_code != 429 and response.status_code < 500:
                    break
        raise HandoffError(f"{urlsplit(self._url).hostname}: {problem}")
