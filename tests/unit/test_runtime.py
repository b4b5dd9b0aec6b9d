"""Private clusters share nothing; named ones are joined or missed in one line; busy ports are named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ochat_ray import runtime
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
    done = run(
        "from ochat_ray.errors import ConfigError\n"
        "from ochat_ray.runtime import cluster\n"
        "try:\n"
        f"    with cluster('127.0.0.1:{port}'): print('joined')\n"
        "except ConfigError as error: print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    assert f"no Ray cluster answers at '127.0.0.1:{port}'" in line
    assert "--address" in line


def test_a_cluster_that_dies_under_the_work_is_told_in_one_line() -> None:
    done = run(
        "import os, ray, signal, sys\n"
        "from ochat_ray import cli\n"
        "from ochat_ray.runtime import cluster\n"
        "def work(args):\n"
        "    with cluster() as private:\n"
        "        processes = ray._private.worker._global_node.all_processes['raylet']\n"
        "        os.kill(processes[0].process.pid, signal.SIGKILL)\n"
        "        ray.get(ray.remote(max_retries=0)(lambda: 1).remote())\n"
        "cli._sample = work\n"
        "sys.exit(cli.main(['sample', 'x']))\n"
    )
    told = [line for line in done.stderr.splitlines() if "run the same command again to go on" in line]
    assert len(told) == 1 and "the Ray cluster died" in told[0], done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode  # 2, but for Ray's own haste


def test_busy_ports_are_named_with_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} on 127.0.0.1 is busy.*--port N"):
            require_free_port("127.0.0.1", port, option="--port N")
    require_free_port("127.0.0.1", port, option="--port N")


def test_a_private_cluster_admits_nobody_else() -> None:
    intruder = (
        "import os, ray, sys\n"
        "os.environ.update(RAY_AUTH_MODE='disabled')\n"
        "os.environ.pop('RAY_AUTH_TOKEN', None)\n"
        "try: ray.init(sys.argv[1], log_to_driver=False)\n"
        "except Exception as error: print('refused', type(error).__name__)\n"
        "else: print('admitted')\n"
    )
    done = run(
        "import ray, subprocess, sys\n"
        "from ochat_ray.runtime import cluster\n"
        "with cluster():\n"
        "    address = ray.get_runtime_context().gcs_address\n"
        f"    subprocess.run([sys.executable, '-c', {intruder!r}, address], timeout=120)\n"
    )
    assert "admitted" not in done.stdout
    assert "refused" in done.stdout, done.stderr


def test_what_killed_processes_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, alive = tmp_path / f"ochat-{gone.pid}-x", tmp_path / f"ochat-{os.getpid()}-y"
    dead.mkdir()
    alive.mkdir()
    monkeypatch.setattr(runtime, "FOLDERS", tmp_path)
    runtime._sweep()
    assert [path.name for path in tmp_path.iterdir()] == [alive.name]
