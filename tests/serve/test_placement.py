"""What replicas ask for, and where they fit."""

from __future__ import annotations

import pytest

from ochat_ray.config import ServeConfig
from ochat_ray.config.serve import EngineConfig
from ochat_ray.errors import ConfigError
from ochat_ray.runtime import POOL_SHARE
from ochat_ray.serve.app import build_app
from ochat_ray.serve.placement import actor_options, fitting, light_options, need
from ochat_ray.strict import parse


def test_a_replica_is_never_split_between_nodes() -> None:
    nodes = [{"CPU": 3.0, "GPU": 1.0}, {"CPU": 8.0}, {"CPU": 2.0, "GPU": 2.0}]
    assert fitting(nodes, {"CPU": 2.0, "GPU": 0.0}) == 1 + 4 + 1
    assert fitting(nodes, {"CPU": 1.0, "GPU": 1.0}) == 1 + 0 + 2


def test_a_pool_takes_engines_and_what_waits_beside_them() -> None:
    config = ServeConfig(pool="ours", engine=EngineConfig(threads=2))
    assert need(config, 1.0) == {"CPU": 2, "GPU": 1.0, "ours": POOL_SHARE}
    assert actor_options(config, 1.0) == {"num_cpus": 2, "num_gpus": 1.0, "resources": {"ours": POOL_SHARE}}
    assert light_options("ours") == {"num_cpus": 0, "resources": {"ours": POOL_SHARE}}
    assert light_options(None) == {"num_cpus": 0, "resources": {}}
    node = {"CPU": 64.0, "GPU": 8.0}
    assert fitting([node], need(config, 1.0)) == 0
    assert fitting([{**node, "ours": 1.0}], need(config, 1.0)) == 8


def test_ingress_and_engine_of_an_endpoint_keep_to_its_pool(model_dir: object) -> None:
    app = build_app({None: str(model_dir)}, ServeConfig(pool="ours"), gpus=0.0, surge=True)
    ingress = app._bound_deployment
    (engine,) = ingress.init_args[2].values()
    for deployment in (ingress, engine._bound_deployment):
        assert deployment.ray_actor_options["resources"] == {"ours": POOL_SHARE}


@pytest.mark.parametrize("name", ["", "2nd", "a b", "node:__internal_head__"])
def test_a_pool_needs_a_resource_s_name(name: str) -> None:
    with pytest.raises(ConfigError, match="pool"):
        parse(ServeConfig, {"pool": name}, "serve")
