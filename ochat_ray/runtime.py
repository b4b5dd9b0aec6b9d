"""Joining a Ray cluster, or starting a private one that shares nothing with others on the machine."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ochat_ray.errors import ConfigError

# Read by Ray when it is imported or started, so set before either; the user's own settings win.
PRIVATE_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # else Ray may leave a token in HOME that later clusters then demand
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # Never shown: what Ray Train says every second where there is no dashboard, and of its own actors.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "Failed to query Ray Train Controller actor state|ray/issues/53727",
}


@contextmanager
def cluster(address: str | None = None, *, min_cpus: int = 1) -> Iterator[bool]:
    """A connection to Ray for the length of the block; yields whether the cluster ends with the block.

    With `address` (or RAY_ADDRESS, which `ray job submit` sets) joins that cluster and leaves it running.
    With neither, starts a private one on free ports and a temporary folder of its own, with at least
    `min_cpus` logical CPUs, and ends it with the block. A connection that is already there is used as it is.
    """
    for name, value in PRIVATE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield False
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        try:
            _knock(address)
            ray.init(address, namespace="ochat")
        except (ConnectionError, OSError) as error:
            raise ConfigError(
                f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]}); start one with "
                "`ray start --head`, or leave out --address and RAY_ADDRESS for a private one"
            ) from error
        try:
            yield False
        finally:
            ray.shutdown()
        return
    # Sockets live in this folder and their paths must stay short, whatever TMPDIR is.
    folder = tempfile.mkdtemp(prefix="ochat-", dir="/tmp" if sys.platform != "win32" else None)
    cpus = max(min_cpus, os.cpu_count() or 1)
    try:
        ray.init(
            "local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,  # stages show their own progress, and errors come as exceptions
            namespace="ochat",
            _temp_dir=folder,
        )
        yield True
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _knock(address: str) -> None:
    """Fail at once where nothing listens: Ray itself tries for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def require_free_port(host: str, port: int, *, option: str) -> None:
    """Raises ConfigError naming the port, and the option that changes it, if something listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} on {host} is busy or not ours to use ({error.strerror}); "
                f"free it, or choose another with {option}"
            ) from error
