"""Ports for servers under test."""

from __future__ import annotations

import random
import socket

# Below what Linux gives to outgoing connections, which could take the port before the server does, and above
# what Ray gives to its workers.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of the loopback address that nothing listens on now."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as server:
            try:
                server.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
