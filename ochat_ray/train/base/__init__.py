"""The base model: a tiny one from scratch, or an existing one made fit for a model type."""

from ochat_ray.train.base.extend import Extended, extend
from ochat_ray.train.base.tiny import make_tiny

__all__ = ["Extended", "extend", "make_tiny"]
