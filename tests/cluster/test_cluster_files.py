"""Cluster YAMLs pass Ray's own validation, and say what the README says of them."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import fillout_defaults, validate_config

CLUSTER = Path(__file__).parent.parent.parent / "cluster"
YAMLS = sorted(path for path in CLUSTER.glob("*.yaml") if path.name != "serve.yaml")  # that is Serve's


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.name)
def test_yaml_passes_rays_schema(path: Path) -> None:
    config = fillout_defaults(yaml.safe_load(path.read_text()))
    validate_config(config)
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"]["CPU"] == 0, "the head must run no work"
    workers = {n: t for n, t in config["available_node_types"].items() if n != config["head_node_type"]}
    assert workers
    assert all(t["min_workers"] == 0 < t["max_workers"] for t in workers.values())
    assert sum(t["max_workers"] for t in workers.values()) <= config["max_workers"]


def test_a_misspelt_key_is_caught() -> None:
    config = yaml.safe_load(YAMLS[0].read_text())
    config["max_worker"] = config.pop("max_workers")
    with pytest.raises(Exception, match="max_worker"):
        validate_config(fillout_defaults(config))


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.name)
def test_files_to_mount_are_there(path: Path) -> None:
    mounts = yaml.safe_load(path.read_text())["file_mounts"]
    ours = [local for local in mounts.values() if not local.startswith("~")]  # `ray up` asks for the others
    assert len(ours) == 5
    assert not [local for local in ours if not (CLUSTER.parent / local).exists()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_local_cluster_names_a_port_of_rays_own() -> None:
    done = subprocess.run(
        ["bash", str(CLUSTER / "local.sh")],
        env={"PATH": "/usr/bin:/bin", "PORT": "19380"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "port 19380 is one of Ray's workers'" in done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_local_cluster_names_a_busy_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # ephemeral ports start above those of Ray's workers
        done = subprocess.run(
            ["bash", str(CLUSTER / "local.sh")],
            env={"PATH": "/usr/bin:/bin", "PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert f"port {port} is busy" in done.stderr
    assert "PORT=" in done.stderr
