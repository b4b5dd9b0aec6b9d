"""What Ray costs: a whole preparation against the same functions in a plain loop, and workers' memory."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ochat_ray.bench import _corpus as corpus
from ochat_ray.bench import record
from ochat_ray.bench._processes import Usage, run_watched

MB = 2**20

ON_RAY = """
import sys
from ochat_ray.cli import main
sys.exit(main(["prepare", sys.argv[1], sys.argv[2], "--base", sys.argv[3], *sys.argv[4:]]))
"""


def main(argv: Sequence[str]) -> None:
    """Run the benchmark over so many pages, made of those of a folder."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench prepare", description=__doc__)
    corpus.options(parser)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3000, 30000], help="numbers of pages")
    args = parser.parse_args(argv)
    lines = [
        "| pages | plain loop, CPU s | Ray, CPU s | Ray / plain | pages per CPU s | largest worker, MB |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        base = corpus.base(args.base, work / "base")
        found = corpus.pages(args.pages, work / "sample")
        for size in args.sizes:
            pages = work / f"pages-{size}"
            pages.mkdir()
            for name, page in corpus.multiplied(found, size):
                (pages / name).write_bytes(page)
            plain = _plain(pages, work / f"plain-{size}", base)
            ray = run_watched(["-c", ON_RAY, str(pages), str(work / f"ray-{size}"), str(base), *SETTINGS])
            lines.append(_row(size, plain, ray))
    record("Whole preparations, Ray against a plain loop", "\n".join(lines))


SETTINGS = ["--recipe", "openchat", "data.filters.models=[]"]


def _row(size: int, plain_s: float, ray: Usage) -> str:
    ratio, rate = ray.cpu_s / plain_s, size / ray.cpu_s
    memory = ray.worker_bytes / MB
    return f"| {size:,} | {plain_s:.1f} | {ray.cpu_s:.1f} | {ratio:.2f} | {rate:,.0f} | {memory:,.0f} |"


def _plain(pages: Path, output: Path, base: Path) -> float:
    """CPU seconds of a plain loop in a process of its own, as the Ray workers are."""
    command = [
        sys.executable,
        "-m",
        "ochat_ray.bench._plain",
        str(pages),
        str(output),
        str(base),
        *SETTINGS[2:],
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])
