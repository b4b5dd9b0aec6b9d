"""CPU time and memory of a process and all that it starts, looked up in /proc while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

INTERVAL_S = 0.1
TICK = os.sysconf("SC_CLK_TCK")
WORKER = "ray::"


class Usage(NamedTuple):
    """CPU seconds of all processes, and the most anonymous memory that one Ray worker held, in bytes."""

    cpu_s: float
    worker_bytes: int


def run_watched(arguments: Sequence[str]) -> Usage:
    """Run a Python program to its end and say what it used. Raises CalledProcessError where it fails."""
    process = subprocess.Popen([sys.executable, *arguments])
    cpu: dict[int, float] = {}
    memory: dict[int, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL_S):
            _look(process.pid, cpu, memory)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    ended.set()
    watcher.join()
    if code:
        raise subprocess.CalledProcessError(code, list(arguments))
    return Usage(sum(cpu.values()), max(memory.values(), default=0))


def cpu_seconds(root: int, title: str) -> float:
    """CPU seconds so far of the processes below `root` whose command line begins with `title`."""
    parents, times = _running()
    return sum(
        seconds
        for process, seconds in times.items()
        if _is_below(process, root, parents) and _command(process).startswith(title)
    )


def _look(root: int, cpu: dict[int, float], memory: dict[int, int]) -> None:
    parents, times = _running()
    for process, seconds in times.items():
        if _is_below(process, root, parents):
            cpu[process] = seconds
            memory[process] = max(memory.get(process, 0), _anonymous(process))


def _running() -> tuple[dict[int, int], dict[int, float]]:
    """Parent and CPU seconds of every process."""
    parents: dict[int, int] = {}
    times: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        times[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICK
    return parents, times


def _is_below(process: int, root: int, parents: dict[int, int]) -> bool:
    while process not in (0, 1, root):
        process = parents.get(process, 0)
    return process == root


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def _anonymous(process: int) -> int:
    """Memory of a Ray worker that it shares with nobody, bytes; 0 for other processes."""
    if not _command(process).startswith(WORKER):
        return 0
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith("RssAnon:")), "RssAnon: 0 kB")
    return int(line.split()[1]) * 1024
