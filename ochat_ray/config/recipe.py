"""A recipe is the whole of a run: `load_recipe("openchat", ["train.learning_rate=1e-5"])`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ochat_ray.config.base import BaseConfig
from ochat_ray.config.data import DataConfig
from ochat_ray.config.eval import EvalConfig
from ochat_ray.config.serve import ServeConfig
from ochat_ray.config.train import TrainConfig
from ochat_ray.errors import ConfigError
from ochat_ray.strict import StrictModel, group_of, nearest_key, parse, read_yaml

FOLDER = Path(__file__).parent.parent / "recipes"


class Recipe(StrictModel):
    """Everything that decides a run's result, beside its inputs."""

    name: str
    """For people, and for folders and logs."""
    description: str = ""
    """One line on what the run is for."""
    model_type: str
    """Name of a model type, or the path of its YAML."""
    base: BaseConfig = BaseConfig()
    """The base model, where one is made from scratch."""
    data: DataConfig = DataConfig()
    """From saved pages to token files."""
    train: TrainConfig = TrainConfig()
    """Fine-tuning."""
    serve: ServeConfig = ServeConfig()
    """The endpoint."""
    eval: EvalConfig = EvalConfig()
    """Who answers, who judges."""


def recipe_names() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name_or_file: str, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name or one's own by path, with dotted overrides `group.key=value`.

    Values are YAML (`data.models=[]`, `serve.model_name=null`). Raises ConfigError with file, line,
    path, value and the nearest valid key.
    """
    path = _path(name_or_file)
    data, lines = read_yaml(path)
    return override_recipe(parse(Recipe, data, str(path), lines), overrides)


def override_recipe(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """A recipe with dotted overrides applied, as in `load_recipe`."""
    if not overrides:
        return recipe
    merged = recipe.model_dump()
    for override in overrides:
        _apply(merged, override)
    return parse(Recipe, merged, "command line")


def _path(name_or_file: str) -> Path:
    if name_or_file.endswith((".yaml", ".yml")):
        return Path(name_or_file)
    names = recipe_names()
    if name_or_file not in names:
        near = difflib.get_close_matches(name_or_file, names, n=1)
        hint = f"did you mean `{near[0]}`? Known: " if near else "known: "
        raise ConfigError(
            f"unknown recipe `{name_or_file}`: {hint}{', '.join(names)}; or give the path of a YAML"
        )
    return FOLDER / f"{name_or_file}.yaml"


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *groups, leaf = key.strip().split(".")
    if not equals or not leaf:
        raise ConfigError(f"override `{override}`: write it as group.key=value, e.g. train.epochs=3")
    model: type[StrictModel] | None = Recipe
    for name in [*groups, leaf]:
        field = model.model_fields.get(name) if model else None
        if field is None:
            nearest = nearest_key(Recipe, key)
            hint = f"; did you mean `{nearest}`?" if nearest else ""
            raise ConfigError(f"command line: unknown key `{key}` (value {text!r}){hint}")
        model = group_of(field.annotation)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override `{override}`: the value is not valid YAML: {error}") from error
    for group in groups:
        if data[group] is None:  # an optional group, which this override begins
            data[group] = {}
        data = data[group]
    if model is not None and isinstance(data.get(leaf), dict):
        raise ConfigError(f"override `{override}`: {key} is a group; override its keys, e.g. {key}.KEY=VALUE")
    data[leaf] = value


def describe(recipe: Recipe) -> str:
    """A recipe as YAML with every setting, its meaning above it. Loads again to the same recipe."""
    return "".join(_describe(recipe, ""))


def _describe(group: StrictModel, indent: str) -> list[str]:
    lines = []
    plain = group.model_dump(mode="json")
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        lines.append(f"{indent}# {' '.join((field.description or '').split())}\n")
        if isinstance(value, StrictModel):
            lines += [f"{indent}{name}:\n", *_describe(value, indent + "  ")]
        else:
            # JSON is YAML, and always one line.
            lines.append(f"{indent}{name}: {json.dumps(plain[name], ensure_ascii=False)}\n")
    return lines
