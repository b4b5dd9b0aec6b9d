"""Goes along with a run in the driver: shows it, sends it to trackers, and draws its curves at the end.

Lines that workers print would arrive with Ray's prefixes, and not at all where forwarding is off.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ochat_ray.config import Recipe
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.line import Line
from ochat_ray.train.watch.page import write_page
from ochat_ray.train.watch.prometheus import Prometheus
from ochat_ray.train.watch.steps import Steps
from ochat_ray.train.watch.trackers import Senders

POLL_S = 0.5
WAITING_S = 30
T = TypeVar("T")


def follow(
    run: Callable[[], T], folders: Folders, recipe: Recipe, *, steps: int, waiting: Callable[[], str | None]
) -> T:
    """The result of `run`, which goes on in another thread while people watch.

    Every half a minute the line that `waiting` returns, if any, says why nothing goes on. However the run
    ends, its curves are drawn.

    An interrupt (or SIGTERM) asks the workers to stop after a last checkpoint, and the next one ends the run.

    Not in this thread, because Ray Train takes SIGINT over in the main thread, exits in its own way and
    never gives it back: here Ctrl-C stays a KeyboardInterrupt, with the run to end with its cluster.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    ended = threading.Event()  # not the thread's join, which an interrupt makes believe that it has ended

    def target() -> None:
        try:
            results.append(run())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    watch = _Watch(folders, recipe, steps)
    threading.Thread(target=target, daemon=True).start()
    try:
        _poll(ended, watch, waiting)
    except KeyboardInterrupt:
        watch.look()
        if not watch.line.started:  # there is nothing to save
            raise
        watch.line.tell("stopping after a last checkpoint; interrupt again to end at once")
        folders.stop.touch()
        _poll(ended, watch, waiting)
    finally:
        watch.close()
    if errors:
        raise errors[0]
    return results[0]


class _Watch:
    """All that looks at the logs."""

    def __init__(self, folders: Folders, recipe: Recipe, steps: int) -> None:
        self.folders, self.recipe, self.steps = folders, recipe, steps
        self.line = Line(steps, recipe.train.epochs)
        self._logs = Steps(folders)
        self._senders = Senders(folders, recipe)
        self._prometheus = Prometheus(folders)
        self._last = 0

    def look(self, *, ended: bool = False) -> None:
        """Show and send what came."""
        news = self._logs.read(ended=ended)
        if news.newest:
            self._last = news.newest["step"]
        self.line.show(news)
        self._senders.send(news)
        self._prometheus.see(news)
        for line in self._senders.said():
            self.line.tell(line)

    def close(self) -> None:
        """The rest of the logs, to everybody; then the page."""
        self.look(ended=True)
        self._prometheus.close()
        self.line.close()
        for line in self._senders.close(finished=self._last == self.steps):
            self.line.tell(line)
        try:
            write_page(self.folders, self.recipe, self.steps)
        except Exception as error:  # days of training are not lost for a picture of them
            self.line.tell(f"{self.folders.page} could not be written ({error})")
        else:
            self.line.tell(f"curves in {self.folders.page}")


def _poll(ended: threading.Event, watch: _Watch, waiting: Callable[[], str | None]) -> None:
    asked = time.monotonic()
    while True:
        watch.look()
        if ended.wait(POLL_S):
            return
        if time.monotonic() - asked > WAITING_S:
            asked = time.monotonic()
            if line := waiting():
                watch.line.tell(line)
