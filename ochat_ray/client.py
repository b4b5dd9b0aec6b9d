"""An OpenAI client for an endpoint, by its base URL."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

import openai


def openai_client(url: str) -> openai.OpenAI:
    """A client with the key from OPENAI_API_KEY; proxies of the environment are not for this machine."""
    direct = openai.DefaultHttpxClient(trust_env=False) if _loopback(url) else None
    key = os.environ.get("OPENAI_API_KEY", "none")
    return openai.OpenAI(base_url=url, api_key=key, max_retries=1, http_client=direct)


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
