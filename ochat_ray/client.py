"""OpenAI clients for an endpoint, by its base URL."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import httpx2
import openai

from ochat_ray.errors import ConfigError
from ochat_ray.loopback import is_loopback

NO_KEY = "none"


def openai_client(url: str) -> openai.OpenAI:
    """A client with the key from OPENAI_API_KEY; proxies of the environment are not for this machine."""
    direct = openai.DefaultHttpxClient(trust_env=False) if _loopback(url) else None
    return openai.OpenAI(base_url=url, api_key=api_key("OPENAI_API_KEY"), max_retries=1, http_client=direct)


def async_openai_client(url: str, key: str, *, timeout_s: float, connections: int) -> openai.AsyncOpenAI:
    """The same for many requests at a time, which sends nothing again by itself."""
    http = openai.DefaultAsyncHttpxClient(
        trust_env=not _loopback(url), limits=httpx2.Limits(max_connections=connections)
    )
    return openai.AsyncOpenAI(base_url=url, api_key=key, timeout=timeout_s, max_retries=0, http_client=http)


def api_key(variable: str) -> str:
    """The key in an environment variable, NO_KEY where there is none, for endpoints that ask for none.

    Raises ConfigError for what cannot be sent in a header; its text is not told.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"environment variable {variable}: a key has plain characters only; set it again")
    return key or NO_KEY


def _loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")
