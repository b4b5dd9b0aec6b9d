"""Joining a Ray cluster, or starting a private one that shares nothing with others on the machine."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ochat_ray.errors import ClusterError, ConfigError
from ochat_ray.progress import say

# Read by Ray when it is imported or started; the user's own settings win.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # A worker that waits for the next stage costs nothing; a new one, seconds to import what it needs.
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
    # Serve's own cost of a streamed token is a third less so.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
}
FOLDERS = Path("/tmp")  # not TMPDIR: sockets lie below, and their paths must stay short

# So little of a pool's resource that it never runs out: a pool says where, not how many.
POOL_SHARE = 0.001

_fixed = False


def in_pool(pool: str | None) -> dict[str, float]:
    """What work asks for beside its CPUs and GPUs to run on nodes with this custom resource alone."""
    return {} if pool is None else {pool: POOL_SHARE}


def fixed() -> bool:
    """Whether the cluster is a private one, which never gets more than it has; others may grow."""
    return _fixed


@contextmanager
def cluster(address: str | None = None, *, min_cpus: int = 1, private: bool = False) -> Iterator[bool]:
    """A connection to Ray for the length of the block; yields whether the cluster ends with the block.

    With `address` (or RAY_ADDRESS, which `ray job submit` sets) joins that cluster and leaves it running.
    With neither, or with `private`, starts one on free ports, with a temporary folder and a token of its
    own and at least `min_cpus` logical CPUs, and ends it with the block. A connection that is already
    there is used as it is. Raises ConfigError where no cluster answers, ClusterError where it dies.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    address = None if private else address or os.environ.get("RAY_ADDRESS")
    if not address:
        _authenticate()
    import ray

    if ray.is_initialized():
        yield False
    elif address:
        with _joined(address), _death_told():
            yield False
    else:
        with _private(max(min_cpus, os.cpu_count() or 1)), _death_told():
            yield True


@contextmanager
def _death_told() -> Iterator[None]:
    """ClusterError in place of what Ray raises where the processes died that run the cluster."""
    from ray.exceptions import LocalRayletDiedError, NodeDiedError, RpcError

    try:
        yield
    except (LocalRayletDiedError, NodeDiedError, RpcError) as error:
        line = (
            f"the Ray cluster died or cannot be reached any more ({type(error).__name__}), perhaps for want "
            "of memory; run the same command again to go on: what was finished is kept"
        )
        say(line)
        raise ClusterError(line) from error


def _authenticate() -> None:
    """A token that only this process and its cluster know: Ray's ports are open to the whole network.

    Ray demands one of clusters that it starts by `ray.init`, and would otherwise leave it in HOME, where
    every later cluster takes it up.
    """
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # What it says about it is meant for those who did not choose it.
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)


@contextmanager
def _joined(address: str) -> Iterator[None]:
    import ray

    try:
        _knock(address)
        ray.init(address, namespace="ochat")
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]}); start one with "
            "`ray start --head`, or leave out --address and RAY_ADDRESS for a private one"
        ) from error
    try:
        with _terminable():
            yield
    finally:
        ray.shutdown()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM as an interrupt for the length of the block: Ray's own handler aborts and leaves orphans."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _private(cpus: int) -> Iterator[None]:
    global _fixed
    import ray

    _sweep()
    say("starting a private Ray cluster")
    folder = tempfile.mkdtemp(prefix=f"ochat-{os.getpid()}-", dir=FOLDERS)
    try:
        ray.init(
            "local",
            num_cpus=cpus,
            include_dashboard=False,
            logging_level=logging.WARNING,
            log_to_driver=False,  # stages show their own progress, and errors come as exceptions
            namespace="ochat",
            _temp_dir=folder,
        )
        _fixed = True
        with _terminable():
            yield
    finally:
        _fixed = False
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what processes that were killed have left."""
    for folder in FOLDERS.glob("ochat-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


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
