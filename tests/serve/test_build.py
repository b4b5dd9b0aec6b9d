"""Serve's configuration files: the shipped one is right to the last key, and a wrong one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from ochat_ray.errors import ConfigError
from ochat_ray.serve import app, build
from tests.conftest import ROOT


def shipped() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "cluster" / "serve.yaml").read_text())
    return found


def test_the_shipped_file_has_no_key_that_serve_would_ignore() -> None:
    found = shipped()
    schema = ServeDeploySchema.model_validate(found)
    assert set(found) <= set(ServeDeploySchema.model_fields)
    assert set(found["http_options"]) <= set(type(schema.http_options).model_fields)
    for one, parsed in zip(found["applications"], schema.applications, strict=True):
        assert set(one) <= set(type(parsed).model_fields)
    assert [one["name"] for one in found["applications"]] == [app.APP_NAME, app.PAGE_NAME]


def test_the_shipped_arguments_are_ours(monkeypatch: pytest.MonkeyPatch, model_dir: Path) -> None:
    endpoint, page = (one["args"] for one in shipped()["applications"])
    bound = build.endpoint({**endpoint, "model": str(model_dir)})
    assert bound._bound_deployment.name == app.INGRESS
    monkeypatch.setattr(app, "build_app", None)
    assert build.page(page)._bound_deployment.name == "chat-page"


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"modle": "x"}, "modle"),
        ({"model": "x", "serve": {"autoscaling": {"max_replica": 3}}}, r"serve\.autoscaling\.max_replica"),
        ({"model": "x", "serve": {"autoscaling": {"min_replicas": 3, "max_replicas": 2}}}, "min_replicas 3"),
        ({"model": "x", "serve": {"one_hop": True, "replicas": 2}}, "one_hop"),
    ],
)
def test_a_wrong_argument_is_named(args: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build.endpoint(args)
