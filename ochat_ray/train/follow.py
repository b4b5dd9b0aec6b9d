"""Shows a run's progress in the driver's own output, from the log that the first worker writes.

Lines that workers print would arrive with Ray's prefixes, and not at all where forwarding is off.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ochat_ray.progress import Progress
from ochat_ray.train import log

POLL_S = 0.5
WAITING_S = 30
T = TypeVar("T")


def follow(
    run: Callable[[], T], losses: Path, *, steps: int, epochs: int, waiting: Callable[[], str | None]
) -> T:
    """The result of `run`, which goes on in another thread while steps, rate, time left and loss are shown.

    Every half a minute the line that `waiting` returns, if any, says why nothing goes on.

    Not in this one, because Ray Train takes SIGINT over in the main thread, exits in its own way and
    never gives it back: here Ctrl-C stays a KeyboardInterrupt, with the run to end with its cluster.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(run())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    _show(thread, losses, steps, epochs, waiting)
    if errors:
        raise errors[0]
    return results[0]


def _show(
    thread: threading.Thread, losses: Path, steps: int, epochs: int, waiting: Callable[[], str | None]
) -> None:
    # The rate counts from the first step seen, so that starting the workers does not distort it.
    progress: Progress | None = None
    running = True
    asked = time.monotonic()
    while running:
        thread.join(POLL_S)
        running = thread.is_alive()
        if running and time.monotonic() - asked > WAITING_S:
            asked = time.monotonic()
            if line := waiting():
                print(f"train: {line}", file=sys.stderr)
        entry = log.last(losses)
        if entry is None:
            continue
        step = entry["step"]
        if progress is None or step < progress.count:
            if progress:
                print(f"train: started again from the last checkpoint, at step {step}", file=progress.stream)
            progress = Progress("train", total=steps, unit="steps", start=step)
        elif step > progress.count:
            note = f"epoch {entry['epoch']}/{epochs}, loss {entry['loss']:.4f}"
            progress.update(step - progress.count, note)
    if progress:
        progress.close()
