"""What one HTTP process has served, for Prometheus: by its own page, and by Ray's endpoint on its node, where
all processes are seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ochat_ray import metrics
from ochat_ray.metrics import SECONDS


class Metrics:
    """Counts requests that are over, and those that go on."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        where: Any = {"registry": self.registry, "namespace": "ochat"}
        self._requests = Counter(
            "requests", "Requests that are over, by HTTP status", ["route", "model", "status"], **where
        )
        self._tokens = Counter(
            "tokens", "Tokens, by kind: prompt, cached, completion", ["model", "kind"], **where
        )
        self._running = Gauge("requests_running", "Requests that go on", **where)
        self._first = Histogram(
            "first_token_seconds", "Time to the first token", ["model"], buckets=SECONDS, **where
        )
        self._whole = Histogram(
            "request_seconds", "Time of a whole request", ["route", "model"], buckets=SECONDS, **where
        )

    def began(self) -> None:
        """A request came in."""
        self._running.inc()

    def ended(self, route: str, status: int, seconds: float, entry: Mapping[str, Any]) -> None:
        """A request is over; `entry` is its account."""
        self._running.dec()
        # Names that are not served are as many as clients like: they share one label.
        model = entry.get("model") or ""
        self._requests.labels(route, model, str(status)).inc()
        self._whole.labels(route, model).observe(seconds)
        if entry.get("first_token_s") is not None:
            self._first.labels(model).observe(entry["first_token_s"])
        for kind in ("prompt", "cached", "completion"):
            self._tokens.labels(model, kind).inc(entry.get(f"{kind}_tokens") or 0)
        metrics.answered(route, model, status, seconds, entry.get("first_token_s"))

    def text(self) -> bytes:
        """Prometheus' text format."""
        text: bytes = generate_latest(self.registry)
        return text
