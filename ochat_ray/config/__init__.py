"""Recipes: one YAML says everything about a run. Loads no torch, ray or transformers."""

from ochat_ray.config.base import BaseConfig
from ochat_ray.config.data import DataConfig
from ochat_ray.config.recipe import Recipe, load_recipe, recipe_names
from ochat_ray.config.serve import ServeConfig
from ochat_ray.config.train import TrainConfig

__all__ = [
    "BaseConfig",
    "DataConfig",
    "Recipe",
    "ServeConfig",
    "TrainConfig",
    "load_recipe",
    "recipe_names",
]
