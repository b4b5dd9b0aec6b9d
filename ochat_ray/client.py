"""OpenAI clients for an endpoint, by its base URL."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

import httpx2
import openai


def openai_client(url: str) -> openai.OpenAI:
    """A client with the key from OPENAI_API_KEY; proxies of the environment are not for this machine."""
    direct = openai.DefaultHttpxClient(trust_env=False) if _loopback(url) else None
    key = os.environ.get("OPENAI_API_KEY", "none")
    return openai.OpenAI(base_url=url, api_key=key, max_retries=1, http_client=direct)


def async_openai_client(
    url: str, *, key_env: str, timeout_s: float, retries: int, connections: int
) -> openai.AsyncOpenAI:
    """The same for many requests at a time. What fails for a while is sent again, `retries` times."""
    http = openai.DefaultAsyncHttpxClient(
        trust_env=not _loopback(url), limits=httpx2.Limits(max_connections=connections)
    )
    key = os.environ.get(key_env, "none")
    return openai.AsyncOpenAI(
        base_url=url, api_key=key, timeout=timeout_s, max_retries=retries, http_client=http
    )


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
