"""What Prometheus gets of a run, by Ray's endpoint on the driver's node."""

from __future__ import annotations

from typing import Any

from ochat_ray import metrics
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.steps import News


class Prometheus:
    """Counts what this command does, not what earlier ones on the same output did."""

    def __init__(self, folders: Folders) -> None:
        self._run = str(folders.output)
        self._looked = False
        self._after: int | None = None  # the step from which on this command counts
        self._now: dict[str, Any] = {"running": 1}

    def see(self, news: News) -> None:
        """Take what came; to be called every few seconds, also where nothing did."""
        if self._looked:  # the first look finds what earlier commands did
            for start in news.starts:
                self._after = start["step"] if self._after is None else min(self._after, start["step"])
                metrics.STARTS.add(1, run=self._run)
                self._now["workers"] = start["workers"]
        self._looked = True
        if self._after is not None:
            steps = [record for record in news.whole if record["step"] > self._after]
            metrics.trained(self._run, steps)
            for record in steps:
                self._now |= record
        metrics.training(self._run, self._now)

    def close(self) -> None:
        """The run ended, or may go on some day."""
        metrics.training(self._run, {"running": 0})
