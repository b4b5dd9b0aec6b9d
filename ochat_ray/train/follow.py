"""Shows a run's progress in the driver's own output, from the log that the first worker writes.

Lines that workers print would arrive with Ray's prefixes, and not at all where forwarding is off.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ochat_ray.progress import Progress
from ochat_ray.train import log

POLL_S = 0.5


@contextmanager
def following(losses: Path, *, steps: int, epochs: int) -> Iterator[None]:
    """Show steps, rate, time left, epoch and loss while the block runs."""
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(losses, steps, epochs, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _follow(losses: Path, steps: int, epochs: int, stop: threading.Event) -> None:
    # The rate counts from the first step seen, so that starting the workers does not distort it.
    progress: Progress | None = None
    while not stop.wait(POLL_S) or progress is None or progress.count < steps:
        entry = log.last(losses)
        step = entry["step"] if entry else 0
        if entry and progress and step > progress.count:
            note = f"epoch {entry['epoch']}/{epochs}, loss {entry['loss']:.4f}"
            progress.update(step - progress.count, note)
        elif entry and (progress is None or step < progress.count):
            if progress:
                print(
                    f"train: workers were lost and replaced; going on after step {step}", file=progress.stream
                )
            progress = Progress("train", total=steps, unit="steps", start=step)
        if stop.is_set():
            break
    if progress:
        progress.__exit__(None, None, None)
