"""A terminal client of a served endpoint: any OpenAI-compatible one, by its base URL."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import httpx2
import openai
from openai.types.chat import ChatCompletionMessageParam

from ochat_ray.client import NO_KEY, api_key, openai_client
from ochat_ray.errors import OchatError

HELP = "/new starts over, /quit leaves"


def chat(
    url: str, model: str | None, system: str | None, message: str | None, *, temperature: float = 0.7
) -> int:
    """Answer one `message`, or hold a conversation until /quit or the end of input; returns 0.

    The key is read from OPENAI_API_KEY. Raises OchatError where no server answers or it refuses.
    """
    client = openai_client(url)
    opening: list[ChatCompletionMessageParam] = [{"role": "system", "content": system}] if system else []
    try:
        model = model or client.models.list().data[0].id
        if message is None:
            return _converse(client, model, opening, temperature)
        answer(client, model, [*opening, {"role": "user", "content": message}], temperature)
    except (openai.APIError, httpx2.HTTPError) as error:
        raise OchatError(_what_failed(url, error)) from error
    return 0


def answer(
    client: openai.OpenAI, model: str, messages: Sequence[ChatCompletionMessageParam], temperature: float
) -> str:
    """Stream one answer to standard output; returns its text."""
    parts = []
    stream = client.chat.completions.create(
        model=model, messages=list(messages), temperature=temperature, stream=True
    )
    for chunk in stream:
        delta = chunk.choices[0].delta.content if chunk.choices else None
        if delta:
            parts.append(delta)
            sys.stdout.write(delta)
            sys.stdout.flush()
    print()
    return "".join(parts)


def _converse(
    client: openai.OpenAI, model: str, opening: list[ChatCompletionMessageParam], temperature: float
) -> int:
    if sys.stdin.isatty():
        import readline  # noqa: F401  (gives input() history and line editing)
    print(f"{model}. {HELP}.")
    messages = list(opening)
    while True:
        try:
            text = input("> ")
        except EOFError:
            return 0
        if text.strip() == "/quit":
            return 0
        if text.strip() == "/new":
            messages = list(opening)
        elif text.strip():
            messages.append({"role": "user", "content": text})
            try:
                reply = answer(client, model, messages, temperature)
            except (openai.APIError, httpx2.HTTPError) as error:
                messages.pop()
                print(f"\n[{_what_failed(str(client.base_url), error)}]")
            else:
                messages.append({"role": "assistant", "content": reply})


def _what_failed(url: str, error: Exception) -> str:
    if isinstance(error, openai.APIConnectionError):
        return f"no server answers at {url}; start one with `ochat-ray serve MODEL_DIR`, or give its --url"
    if isinstance(error, openai.AuthenticationError) and api_key("OPENAI_API_KEY") == NO_KEY:
        return f"{url} asks for a key, one of `ochat-ray keys add`: set OPENAI_API_KEY"
    if isinstance(error, openai.APIStatusError):
        return f"{url} refused: {error.message}"
    return f"{url} broke off: {error}"
