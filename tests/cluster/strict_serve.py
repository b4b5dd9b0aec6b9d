"""A strict pass over Serve's own configuration files: Serve ignores keys that it does not know."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from ray.serve.schema import ServeDeploySchema

from ochat_ray.errors import ConfigError
from ochat_ray.serve import build
from ochat_ray.strict import parse

ARGS = {
    "ochat_ray.serve.build:endpoint": build.EndpointArgs,
    "ochat_ray.serve.build:page": build.PageArgs,
}


def faults_of(config: Mapping[str, Any]) -> list[str]:
    """All that is wrong with a file's content: unknown keys, values that Serve refuses, ranges that are none,
    and the arguments of our applications."""
    faults = [*_unknown(config, ServeDeploySchema, ""), *_ranges(config, "")]
    try:
        ServeDeploySchema.model_validate(config)
    except ValidationError as error:
        faults += [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    for index, app in enumerate(config.get("applications") or []):
        faults += [f"applications.{index}: {fault}" for fault in _application(app, config)]
    return faults


def _unknown(value: Any, model: type[BaseModel], at: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        return
    fields = dict(model.model_fields)
    fields |= {field.alias: field for field in model.model_fields.values() if field.alias}
    for key, item in value.items():
        if key not in fields:
            nearest = difflib.get_close_matches(str(key), fields, n=1)
            yield f"{at}{key}: no such key" + (f"; did you mean {nearest[0]}?" if nearest else "")
            continue
        for inner in _models(fields[key].annotation):
            for place, one in _items(item, f"{at}{key}"):
                yield from _unknown(one, inner, f"{place}.")


def _items(value: Any, at: str) -> list[tuple[str, Any]]:
    if isinstance(value, list):
        return [(f"{at}.{index}", item) for index, item in enumerate(value)]
    return [(at, value)]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Models in an annotation such as `list[Model]` or `Model | dict | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, list):
        return [model for inner in get_args(annotation) for model in _models(inner)]
    return []


def _ranges(value: Any, at: str) -> Iterator[str]:
    """Serve itself takes a least that is more than the most, wherever it stands."""
    if isinstance(value, Mapping):
        least, most = value.get("min_replicas"), value.get("max_replicas")
        first = value.get("initial_replicas")
        if None not in (least, most) and least > most:
            yield f"{at}min_replicas: {least} is more than max_replicas, {most}"
        if first is not None and not (least or 0) <= first <= (first if most is None else most):
            yield f"{at}initial_replicas: {first} is out of range"
        for key, item in value.items():
            yield from _ranges(item, f"{at}{key}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _ranges(item, f"{at}{index}.")


def _application(app: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    path = app.get("import_path", "")
    if path not in ARGS:
        yield f"import_path: {path!r} is none of {', '.join(ARGS)}"
        return
    module, name = path.split(":")
    assert callable(getattr(importlib.import_module(module), name))
    try:
        asked = parse(ARGS[path], app.get("args") or {}, "args")
    except ConfigError as error:
        yield str(error)
        return
    port = (config.get("http_options") or {}).get("port", 8000)
    if isinstance(asked, build.PageArgs) and urlsplit(asked.base_url).port != port:
        yield f"base_url: {asked.base_url} is not on the port of http_options, {port}"
