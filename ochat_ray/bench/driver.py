"""What a task of Ray Data costs the driver, which feeds all workers of `prepare`: how far does one reach?"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from ochat_ray.bench import record
from ochat_ray.data.pipeline import run, settings
from ochat_ray.runtime import cluster

TASK_S = 1.5
"""CPU seconds of a worker for `data.task_mb` of pages, by the benchmark of `prepare`."""


def main(argv: list[str]) -> None:
    """Run empty tasks, and count the driver's CPU seconds."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench driver", description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[500, 2500], help="(default 500 2500)")
    args = parser.parse_args(argv)
    lines = [
        "| tasks | driver's CPU ms a task | tasks a second | workers of 1 CPU that it keeps busy at most |",
        "|---" * 4 + "|",
    ]
    with cluster(min_cpus=4, private=True), settings():
        _run(50)  # workers start
        for tasks in args.tasks:
            each = _run(tasks) / tasks
            lines.append(f"| {tasks:,} | {each * 1e3:.1f} | {1 / each:.0f} | {TASK_S / each:.0f} |")
    record("The driver of Ray Data: empty tasks", "\n".join(lines))


def _run(tasks: int) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    done = sum(table.num_rows for table in run([pa.table({"row": [1]})] * tasks, _nothing, None))
    assert done == tasks
    return time.process_time() - began


def _nothing(table: pa.Table, job: Any) -> Iterator[pa.Table]:  # noqa: ARG001
    yield table
