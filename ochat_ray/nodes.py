"""Which nodes a cluster had over time, and what they come to in node-hours."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

PERIOD_S = 1.0
LOST_S = 10.0
"""After so long without an answer the cluster is not charged for any more."""
HEAD = "node:__internal_head__"


class Sample(NamedTuple):
    """The nodes that lived at a moment (seconds of the monotonic clock), by kind."""

    at_s: float
    nodes: Mapping[str, int]


class NodeWatch:
    """Looks at the joined cluster's nodes, every second of the block; `samples` is what it saw.

    `seen` is called after each look, in the thread of the watch.
    """

    def __init__(self, period_s: float = PERIOD_S, *, seen: Callable[[], None] | None = None) -> None:
        self.samples: list[Sample] = []
        self._period_s = period_s
        self._seen = seen
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="nodes", daemon=True)

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(LOST_S)  # where the cluster is gone the last look may never end
        if self.samples and time.monotonic() - self.samples[-1].at_s < LOST_S:  # what was there, up to now
            self.samples.append(Sample(time.monotonic(), self.samples[-1].nodes))

    def node_hours(self) -> dict[str, float]:
        """Hours of nodes, by kind, from the first sample to the last."""
        return node_hours(self.samples)

    def _look(self) -> None:
        while not self._over.wait(self._period_s):
            self._sample()
            if self._seen is not None and not self._over.is_set():
                self._seen()

    def _sample(self) -> None:
        import ray

        try:
            nodes = ray.nodes()
        except Exception:  # the cluster is going, which who runs on it tells better
            return
        self.samples.append(Sample(time.monotonic(), counted(nodes)))


def node_hours(samples: Iterable[Sample]) -> dict[str, float]:
    """Hours of nodes by kind: each sample holds until the next."""
    hours: dict[str, float] = {}
    before: Sample | None = None
    for sample in samples:
        if before is not None:
            for kind, number in before.nodes.items():
                hours[kind] = hours.get(kind, 0.0) + number * (sample.at_s - before.at_s) / 3600
        before = sample
    return dict(sorted(hours.items()))


def counted(nodes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many of `ray.nodes()` live, by kind: `head`, else the largest resources, such as `8 GPU 96 CPU`."""
    return dict(Counter(_kind(node["Resources"]) for node in nodes if node["Alive"]))


def _kind(resources: Mapping[str, float]) -> str:
    if HEAD in resources:
        return "head"
    return " ".join(f"{resources[name]:g} {name}" for name in ("GPU", "CPU") if resources.get(name))
