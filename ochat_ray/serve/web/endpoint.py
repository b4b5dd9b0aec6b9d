"""The chat page's side of the endpoint: models and streamed answers, and errors in a visitor's words."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
from openai.types.chat import ChatCompletionMessageParam

from ochat_ray.errors import OchatError
from ochat_ray.serve.web.texts import text

# The endpoint answers as slowly as its model writes, and has a limit of its own.
TIMEOUT = httpx2.Timeout(None, connect=10.0)


class EndpointError(OchatError):
    """The endpoint does not answer, or refuses; the message is for the visitor."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the endpoint serves, and the conditions that its card names."""

    name: str
    conditions: tuple[str, ...] = ()


class Endpoint:
    """An OpenAI-compatible endpoint by its base URL; every call has the key of its own visitor."""

    def __init__(self, base_url: str) -> None:
        self._url = base_url
        # It is ours: proxies of the environment are for other people's.
        self._http = openai.DefaultAsyncHttpxClient(trust_env=False, timeout=TIMEOUT)

    def _client(self, key: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=self._url, api_key=key or "none", http_client=self._http, max_retries=0, timeout=TIMEOUT
        )

    async def models(self, key: str, language: str) -> list[Model]:
        """What may be asked. Raises EndpointError."""
        try:
            page = await self._client(key).models.list()
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
            raise EndpointError(what_failed(error, language)) from error
        return [Model(card.id, _names((card.model_extra or {}).get("conditions"))) for card in page.data]

    async def answer(
        self,
        key: str,
        model: str,
        messages: Sequence[ChatCompletionMessageParam],
        options: Mapping[str, Any],
        language: str,
    ) -> AsyncGenerator[str, None]:
        """Pieces of an answer as they come; closing the generator ends the work. Raises EndpointError.

        `options` are parameters of a chat completion, of OpenAI or not.
        """
        try:
            stream = await self._client(key).chat.completions.create(
                model=model, messages=list(messages), stream=True, extra_body=dict(options)
            )
            async with stream:
                async for chunk in stream:
                    piece = chunk.choices[0].delta.content if chunk.choices else None
                    if piece:
                        yield piece
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
            raise EndpointError(what_failed(error, language)) from error


def _names(value: Any) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def what_failed(error: Exception, language: str) -> str:
    """An error of the client in one or two sentences that say what to do."""
    if isinstance(error, openai.APIConnectionError):
        return text("no_server", language)
    if isinstance(error, openai.APIStatusError):
        hint = {401: "bad_key", 403: "no_right", 429: "too_many"}.get(error.status_code)
        if hint is None:
            hint = "server_error" if error.status_code >= 500 else "refused"
        return f"{text(hint, language)} ({error.status_code}: {_said(error)})"
    said = _said(error) if isinstance(error, openai.APIError) else str(error) or type(error).__name__
    return f"{text('broke_off', language)} ({said})"


def _said(error: openai.APIError) -> str:
    """The endpoint's own words; the client's message has the whole body in it."""
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    said = body.get("message") if isinstance(body, dict) else None
    return said if isinstance(said, str) and said else error.message
