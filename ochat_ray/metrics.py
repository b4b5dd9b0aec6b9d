"""What Prometheus gets of each stage, by the endpoint that Ray has on every node.

There Ray puts `ray_` before each name and `_total` behind counters, and says which node, process and session
a value is of. Gauges that are not set for twenty seconds go. Where no cluster is joined nothing is counted.
A value costs some microseconds, so none is taken in a loop over tokens.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


@dataclass(frozen=True)
class Metric:
    """A name, what it means, and by what it is told apart. Those of replicas also carry Serve's own labels:
    deployment, replica and application."""

    name: str
    text: str
    tags: tuple[str, ...] = ()
    of_replica: bool = False

    @property
    def exported(self) -> tuple[str, ...]:
        """The names that Prometheus sees."""
        return (f"ray_{self.name}",)

    def _ray(self, *more: Any) -> Any:
        """Ray's own of this kind; None outside a cluster."""
        ray = sys.modules.get("ray")
        if ray is None or not ray.is_initialized():
            return None
        return _made(self, more)


class Counter(Metric):
    """What only grows."""

    @property
    def exported(self) -> tuple[str, ...]:
        """See `Metric`."""
        return (f"ray_{self.name}_total",)

    def add(self, value: float, **tags: str) -> None:
        """Add what has come since the last call."""
        if value > 0 and (counter := self._ray()):
            counter.inc(value, tags)


class Gauge(Metric):
    """What goes up and down."""

    def set(self, value: float | None, **tags: str) -> None:
        """The value now; None, and what is no number, leaves the one before."""
        if value is not None and math.isfinite(value) and (gauge := self._ray()):
            gauge.set(value, tags)


class Histogram(Metric):
    """How often seconds were how many."""

    @property
    def exported(self) -> tuple[str, ...]:
        """See `Metric`."""
        return tuple(f"ray_{self.name}_{part}" for part in ("bucket", "count", "sum"))

    def observe(self, value: float, **tags: str) -> None:
        """One more."""
        if histogram := self._ray(SECONDS):
            histogram.observe(value, tags)


DOCUMENTS = Counter("ochat_data_documents", "Documents that are through a stage of prepare", ("stage",))
KEPT = Counter("ochat_data_kept_conversations", "Conversations that are kept")
REJECTS = Counter("ochat_data_rejects", "Documents turned away, by reason", ("reason",))

STARTS = Counter("ochat_train_starts", "Times that the workers were started", ("run",))
STEPS = Counter("ochat_train_steps", "Optimizer steps, also those left out or done again", ("run",))
TOKENS = Counter("ochat_train_tokens", "Tokens of those steps", ("run",))
LEFT_OUT = Counter("ochat_train_left_out_steps", "Steps left out for their loss or gradient", ("run",))
FAILURES = Counter("ochat_train_failures", "Runs that ended in an error", ("run",))
# By the names in the logs of a run, and two more.
TRAIN_NOW = {
    "running": Gauge("ochat_train_running", "1 while a run waits, starts or trains", ("run",)),
    "workers": Gauge("ochat_train_workers", "Workers at the last start", ("run",)),
    "loss": Gauge("ochat_train_loss", "Loss of the last step, nats a token", ("run",)),
    "eval_loss": Gauge("ochat_train_eval_loss", "Loss on held-out conversations, nats a token", ("run",)),
    "learning_rate": Gauge("ochat_train_learning_rate", "Learning rate of the last step", ("run",)),
    "tokens_per_s": Gauge(
        "ochat_train_tokens_per_second", "Tokens per second in the last step, of all workers", ("run",)
    ),
    "packing": Gauge("ochat_train_packed_ratio", "Share of the bins' room that tokens fill", ("run",)),
}

REQUESTS = Counter(
    "ochat_requests", "Requests that are over, by status", ("route", "model", "status"), of_replica=True
)
FIRST_TOKEN = Histogram(
    "ochat_first_token_seconds", "Time to the first token of streams", ("model",), of_replica=True
)
REQUEST = Histogram("ochat_request_seconds", "Time of a whole request", ("route", "model"), of_replica=True)

# By the fields of an engine's statistics.
ENGINE_NOW = {
    "running": Gauge("ochat_engine_running_requests", "Requests in the batch", of_replica=True),
    "waiting": Gauge("ochat_engine_waiting_requests", "Requests in the engine's queue", of_replica=True),
    "free_tokens": Gauge("ochat_engine_cache_free_tokens", "Free room in the cache", of_replica=True),
    "cache_tokens": Gauge("ochat_engine_cache_capacity_tokens", "Size of the cache", of_replica=True),
}
ENGINE_SO_FAR = {
    "prompt_tokens": Counter("ochat_engine_prompt_tokens", "Tokens of prompts", of_replica=True),
    "cached_tokens": Counter(
        "ochat_engine_cached_tokens", "Tokens of prompts that were known already", of_replica=True
    ),
    "generated_tokens": Counter("ochat_engine_generated_tokens", "Tokens of replies", of_replica=True),
    "preemptions": Counter(
        "ochat_engine_preemptions", "Requests that gave way for want of cache", of_replica=True
    ),
}

METRICS: tuple[Metric, ...] = (
    *(DOCUMENTS, KEPT, REJECTS),
    *(STARTS, STEPS, TOKENS, LEFT_OUT, FAILURES),
    *TRAIN_NOW.values(),
    *(REQUESTS, FIRST_TOKEN, REQUEST),
    *ENGINE_NOW.values(),
    *ENGINE_SO_FAR.values(),
)


def documents(stage: str, number: int) -> None:
    """Documents went through a stage of `prepare`."""
    DOCUMENTS.add(number, stage=stage)


def judged(documents: int, rejected: Mapping[str, int]) -> None:
    """It was decided what becomes of documents; `rejected` counts those that are turned away by reason."""
    KEPT.add(documents - sum(rejected.values()))
    for reason, number in rejected.items():
        REJECTS.add(number, reason=reason)


def trained(run: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Steps of a run are over; `records` have the names of the logs of a run (`train/log.py`)."""
    for record in records:
        STEPS.add(1, run=run)
        TOKENS.add(record.get("tokens", 0), run=run)
        LEFT_OUT.add("skipped" in record, run=run)


def training(run: str, now: Mapping[str, Any]) -> None:
    """How a run stands, by the names of its logs, `running` and `workers`; to be told every few seconds."""
    for name, gauge in TRAIN_NOW.items():
        gauge.set(now.get(name), run=run)


def answered(route: str, model: str, status: int, seconds: float, first_token_s: float | None) -> None:
    """A request to the endpoint is over."""
    REQUESTS.add(1, route=route, model=model, status=str(status))
    REQUEST.observe(seconds, route=route, model=model)
    if first_token_s is not None:
        FIRST_TOKEN.observe(first_token_s, model=model)


def engine(now: Mapping[str, int], before: Mapping[str, int]) -> None:
    """What an engine is doing, and has done since the last call; the names are those of its statistics."""
    for name, gauge in ENGINE_NOW.items():
        gauge.set(now[name])
    for name, counter in ENGINE_SO_FAR.items():
        counter.add(now[name] - before.get(name, 0))


@cache
def _made(metric: Metric, more: tuple[Any, ...]) -> Any:
    module = importlib.import_module("ray.serve.metrics" if metric.of_replica else "ray.util.metrics")
    return getattr(module, type(metric).__name__)(metric.name, metric.text, *more, tag_keys=metric.tags)
