"""Whether a cluster has room for engine replicas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ochat_ray.config import ServeConfig
from ochat_ray.runtime import in_pool


def need(config: ServeConfig, gpus: float) -> dict[str, float]:
    """What one engine replica asks for, by Ray's names of resources."""
    return {"CPU": config.engine.threads, "GPU": gpus, **in_pool(config.pool)}


def actor_options(config: ServeConfig, gpus: float) -> dict[str, Any]:
    """The same in the words of Ray's actors."""
    return {
        "num_cpus": config.engine.threads,
        "num_gpus": gpus,
        "resources": in_pool(config.pool),
    }


def light_options(pool: str | None) -> dict[str, Any]:
    """Options of actors that mostly wait: no CPU of their own, but no node of another pool either, which
    could not be given back while they are there."""
    return {"num_cpus": 0, "resources": in_pool(pool)}


def fitting(nodes: Iterable[Mapping[str, float]], need: Mapping[str, float]) -> int:
    """How many replicas fit on nodes with these resources; a replica is never split between nodes."""
    return sum(
        min(int(node.get(name, 0.0) / count + 1e-9) for name, count in need.items() if count)
        for node in nodes
    )
