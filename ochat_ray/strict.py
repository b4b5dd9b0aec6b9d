"""Strict YAML: frozen models that refuse unknown keys, with errors that say where and what to write.

Shared by model types and recipes. Loads no torch, ray or transformers.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from ochat_ray.errors import ConfigError, one_line
from ochat_ray.surrogates import sound

M = TypeVar("M", bound="StrictModel")
KeyPath = tuple[str | int, ...]
AnyText = Annotated[str, BeforeValidator(lambda text: sound(text) if isinstance(text, str) else text)]
"""A text that somebody wrote, whatever is in it."""


class StrictModel(BaseModel):
    """A frozen record; unknown keys are errors; docstrings under fields are their documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed."""
        return type(self).model_validate({**self.model_dump(), **changes})


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The mapping in a YAML file and the line (from 1) on which each key path stands.

    Raises ConfigError naming file and line for unreadable files, bad YAML, duplicate keys and files
    that hold no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give the path of a YAML file") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {one_line(error)}") from error
    if not isinstance(data, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}: expected `key: value` lines, found {type(data).__name__}")
    lines: dict[KeyPath, int] = {}
    _number(node, (), lines, path)
    return data, lines


def _number(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*at, key_node.value)
            line = key_node.start_mark.line + 1
            if key in lines:
                name = ".".join(map(str, key))
                raise ConfigError(f"{path}:{line}: {name} is given twice (first on line {lines[key]})")
            lines[key] = line
            _number(value_node, key, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value_node in enumerate(node.value):
            lines[(*at, index)] = value_node.start_mark.line + 1
            _number(value_node, (*at, index), lines, path)


def parse(model: type[M], data: dict[str, Any], where: str, lines: dict[KeyPath, int] | None = None) -> M:
    """Validate `data` as `model`; all that is wrong is told at once.

    Raises ConfigError with, for each fault: file and line, the key's full path, the value found, what
    was expected, and for an unknown key the nearest valid one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False):
            at: KeyPath = tuple(p for p in fault["loc"])
            line = (lines or {}).get(at)
            place = f"{where}:{line}" if line else where
            name = ".".join(map(str, at)) or "(whole)"
            if fault["type"] == "extra_forbidden":
                nearest = nearest_key(model, name)
                hint = f"; did you mean `{nearest}`?" if nearest else ""
                faults.append(f"{place}: unknown key `{name}` (value {fault['input']!r}){hint}")
            elif fault["type"] == "missing":
                faults.append(f"{place}: `{name}` is missing; add it")
            else:
                value = "" if isinstance(fault["input"], dict) else f" = {fault['input']!r}"
                faults.append(
                    f"{place}: `{name}`{value}: {_expected(fault['type'], fault['msg'], fault['input'])}"
                )
        raise ConfigError("\n".join(faults)) from None


def _expected(kind: str, message: str, value: Any) -> str:
    if kind != "tuple_type":
        return message.removeprefix("Value error, ")
    example = "" if isinstance(value, dict) else f"; write {_in_flow([value])}"
    return f"expected a list{example}"


def _in_flow(value: Any) -> str:
    """A value as YAML in one line, e.g. `[GPT-4]`."""
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6).strip()


def absolute(path: str) -> str:
    """A path in a setting, for processes in other working folders."""
    return str(Path(path).expanduser().resolve())


def key_paths(model: type[StrictModel], prefix: str = "") -> list[str]:
    """Every valid dotted key of a model, groups included."""
    paths = []
    for name, field in model.model_fields.items():
        paths.append(prefix + name)
        group = group_of(field.annotation)
        if group is not None:
            paths += key_paths(group, f"{prefix}{name}.")
    return paths


def group_of(annotation: Any) -> type[StrictModel] | None:
    """The StrictModel in an annotation such as `Group` or `Group | None`, else None."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next((g for g in map(group_of, get_args(annotation)) if g), None)
    return None


def nearest_key(model: type[StrictModel], name: str) -> str | None:
    """The valid dotted key most like `name`: by its last part first, as keys are put in wrong groups."""
    paths = key_paths(model)
    close = difflib.get_close_matches(name, paths, n=1, cutoff=0.6)
    if close:
        return close[0]
    by_leaf = {path.rsplit(".", 1)[-1]: path for path in reversed(paths)}
    leaf = difflib.get_close_matches(name.rsplit(".", 1)[-1], by_leaf, n=1, cutoff=0.6)
    return by_leaf[leaf[0]] if leaf else None
