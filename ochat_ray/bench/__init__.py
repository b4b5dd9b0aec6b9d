"""Benchmarks: `python -m ochat_ray.bench NAME [options]` prints a table and appends it to BENCHMARKS.md."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path

from ochat_ray.manifest import versions


def record(title: str, table: str, *, file: Path = Path("BENCHMARKS.md")) -> None:
    """Print a Markdown table and append it to `file` with date, command, hardware and versions."""
    # Where a folder lies on one machine helps nobody on another.
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = " ".join(["python -m ochat_ray.bench", *words])
    stack = ", ".join(f"{name} {version}" for name, version in versions().items())
    origin = f"{datetime.date.today().isoformat()}, `{command}`, {hardware()}, {stack}."
    section = f"\n## {title}\n\n{origin}\n\n{table}\n"
    print(section)
    with file.open("a", encoding="utf-8") as out:
        out.write(section)


def hardware() -> str:
    """The machine in a few words: cores, processor, memory, and GPUs where torch sees any."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        processor = names[0] if names else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    words = f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        words += f", {torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return words
