"""Losses on held-out conversations."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from ochat_ray.train.feed import Feed
from ochat_ray.train.strategies import Strategy


@torch.no_grad()
def evaluate(strategy: Strategy, feed: Feed, device: torch.device) -> dict[str, Any]:
    """Weighted mean loss over all of `feed`: `eval_loss`, and where there are classes `eval_losses` by class.

    Every worker must call this.
    """
    classes = feed.tokens.classes
    numbers_N = torch.from_numpy(classes.numbers_N)
    sums = torch.zeros(len(classes.names), device=device, dtype=torch.float64)
    for step in range(feed.plan.steps):
        for index in bins_of_worker(feed.plan.bins_per_step):
            losses = strategy.model.conversation_losses(feed.pack(step, index).to(device))
            rows = torch.from_numpy(feed.rows(step, index))
            sums.index_add_(0, numbers_N[rows].to(device), losses[: len(rows)].double())
    strategy.evaluated()
    dist.all_reduce(sums)
    weights = torch.zeros(len(classes.names), dtype=torch.float64)
    weights.index_add_(0, numbers_N, torch.from_numpy(feed.weights_N))
    found: dict[str, Any] = {"eval_loss": sums.sum().item() / (weights.sum().item() or 1.0)}
    if len(classes.names) > 1:
        triples = zip(classes.names, sums.tolist(), weights.tolist(), strict=True)
        found["eval_losses"] = {name: total / weight for name, total, weight in triples if weight}
    return found


def bins_of_worker(bins_per_step: int) -> range:
    """The bins of a step that this worker computes; as many as any other, so some may not exist."""
    workers = dist.get_world_size()
    rounds = -(-bins_per_step // workers)
    return range(dist.get_rank(), rounds * workers, workers)
