"""Whole models on one device, for what needs no workers."""

from __future__ import annotations

from pathlib import Path

import torch

from ochat_ray.config import TrainConfig
from ochat_ray.train.model import PackedModel, build, check_weights, parameters
from ochat_ray.train.weights import Weights


def whole_model(base: Path, config: TrainConfig | None = None) -> PackedModel:
    """The base model with its weights, as the strategies put it together."""
    model = build(base, config or TrainConfig())
    weights = Weights(base)
    check_weights(model, weights)
    with torch.no_grad():
        for name, weight in parameters(model):
            weight.copy_(weights.read(name))
    return model
