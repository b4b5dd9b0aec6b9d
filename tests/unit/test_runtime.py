"""Private clusters share nothing; named ones are joined or missed in one line; busy ports are named."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ochat_ray.errors import ConfigError
from ochat_ray.runtime import require_free_port


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_private_cluster_ends_with_its_block_and_leaves_nothing() -> None:
    done = run(
        "import ray\n"
        "from ochat_ray.runtime import cluster\n"
        "with cluster(min_cpus=3) as private:\n"
        "    folder = ray._private.worker._global_node.get_session_dir_path()\n"
        "    print(private, ray.cluster_resources()['CPU'] >= 3, folder)\n"
        "    with cluster() as inner: print(inner)\n"
        "print(ray.is_initialized())\n"
    )
    assert done.returncode == 0, done.stderr
    first, inner, after = done.stdout.splitlines()
    private, enough, folder = first.split()
    assert (private, enough, inner, after) == ("True", "True", "False", "False")
    assert folder.startswith("/tmp/ochat-")
    assert not Path(folder).parent.exists()


def test_a_cluster_that_does_not_answer_is_named_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-m", "ochat_ray", "prepare", "in", "out", "--base", "base"]
        + ["--address", f"127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert f"no Ray cluster answers at '127.0.0.1:{port}'" in last
    assert "--address" in last


def test_busy_ports_are_named_with_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} on 127.0.0.1 is busy.*--port N"):
            require_free_port("127.0.0.1", port, option="--port N")
    require_free_port("127.0.0.1", port, option="--port N")
