"""Whether a cluster has room for engine replicas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ochat_ray.config import ServeConfig


def need(config: ServeConfig, gpus: float) -> dict[str, float]:
    """What one engine replica asks for, by Ray's names of resources."""
    return {"CPU": config.engine.threads, "GPU": gpus}


def fitting(nodes: Iterable[Mapping[str, float]], need: Mapping[str, float]) -> int:
    """How many replicas fit on nodes with these resources; a replica is never split between nodes."""
    return sum(
        min(int(node.get(name, 0.0) / count + 1e-9) for name, count in need.items() if count)
        for node in nodes
    )
