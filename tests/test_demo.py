"""`ochat-ray demo` as a newcomer runs it: interrupted in the middle, run again, and asked for a busy port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ports import free_port

DEADLINE_S = 400


def command(work: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "ochat_ray", "demo", "--work", str(work), "--port", str(port)]


def members(group: int) -> list[str]:
    """Command names of the processes in a session, zombies left out."""
    listing = subprocess.run(["ps", "-eo", "sid,stat,args"], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()[1:]]
    return [args for sid, stat, args in rows if int(sid) == group and not stat.startswith("Z")]


@pytest.mark.timeout(900)
def test_interrupted_then_run_again(tmp_path: Path) -> None:
    work, port = tmp_path / "demo", free_port()
    log = tmp_path / "log"
    with log.open("w") as out:
        first = subprocess.Popen(
            command(work, port), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    losses = work / "train" / "losses.jsonl"
    end = time.monotonic() + DEADLINE_S
    while not (losses.exists() and losses.read_text().count("\n") > 3):  # in the middle of training
        assert first.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGINT)  # what Ctrl-C does: the whole group is told
    assert first.wait(120) == 130, log.read_text()
    assert "interrupted. Run the same command again to go on" in log.read_text().splitlines()[-1]
    while left := members(first.pid):
        assert time.monotonic() < end, left
        time.sleep(0.1)

    again = subprocess.run(
        command(work, port),
        env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"},  # the demo leaves the user's cluster alone
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("[as taught]") >= 9
    assert "answers as taught" in again.stdout
    assert "conversations kept" in again.stdout
    assert "already prepared" in again.stderr  # what was finished was not done again
    assert f"http://127.0.0.1:{port}/v1" in again.stdout


def test_a_busy_port_is_named_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(command(tmp_path / "demo", port), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is busy" in done.stderr
    assert "make demo PORT=N" in done.stderr
    assert not (tmp_path / "demo").exists()
