"""Recipes: one YAML says everything about a run. Loads no torch, ray or transformers."""

from ochat_ray.config.base import BaseConfig
from ochat_ray.config.data import ClassConfig, DataConfig, NearDuplicateConfig
from ochat_ray.config.filters import FilterConfig
from ochat_ray.config.recipe import Recipe, describe, load_recipe, override_recipe, recipe_names
from ochat_ray.config.serve import ServeConfig
from ochat_ray.config.train import CheckpointConfig, LoraConfig, TrainConfig

__all__ = [
    "BaseConfig",
    "CheckpointConfig",
    "ClassConfig",
    "DataConfig",
    "FilterConfig",
    "LoraConfig",
    "NearDuplicateConfig",
    "Recipe",
    "ServeConfig",
    "TrainConfig",
    "describe",
    "load_recipe",
    "override_recipe",
    "recipe_names",
]
