"""Whether a host is this machine itself, which no proxy and nobody else reaches."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Of names only `localhost` is taken for it; nothing is looked up."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
