"""Cluster YAMLs pass Ray's own validation, and say what the README says of them."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
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


def aws_faults(node_config: dict[str, Any]) -> str:
    """What EC2 would say of a node's request, by botocore's model of it: Ray passes these keys on unseen."""
    session = botocore.session.get_session()
    model = session.get_service_model("ec2")
    run = model.operation_model("RunInstances").input_shape
    faults = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **node_config}, run).generate_report()
    kinds = model.shape_for("InstanceType").enum
    if node_config["InstanceType"] not in kinds:
        faults += f"no instance type {node_config['InstanceType']}"
    market = node_config.get("InstanceMarketOptions", {}).get("MarketType", "spot")
    if market not in model.shape_for("MarketType").enum:
        faults += f"no market type {market}"
    for device in node_config.get("BlockDeviceMappings", []):
        if device["Ebs"]["VolumeType"] not in model.shape_for("VolumeType").enum:
            faults += f"no volume type {device['Ebs']['VolumeType']}"
    return faults


def test_aws_would_take_its_nodes() -> None:
    types = yaml.safe_load((CLUSTER / "aws.yaml").read_text())["available_node_types"]
    assert {name: aws_faults(kind["node_config"]) for name, kind in types.items()} == dict.fromkeys(types, "")


@pytest.mark.parametrize(
    "change",
    [
        {"InstanceTyp": "m5.large"},
        {"InstanceType": "m5.hugest"},
        {"InstanceMarketOptions": {"MarketTyp": "spot"}},
        {"InstanceMarketOptions": {"MarketType": "sopt"}},
        {
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": "200", "VolumeType": "gp3"}}
            ]
        },
        {
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 200, "VolumeType": "gp33"}}
            ]
        },
    ],
)
def test_a_typo_in_a_node_of_aws_is_caught(change: dict[str, Any]) -> None:
    types = yaml.safe_load((CLUSTER / "aws.yaml").read_text())["available_node_types"]
    assert aws_faults({**types["cpu_spot"]["node_config"], **change})


def test_a_misspelt_key_is_caught() -> None:
    config = yaml.safe_load(YAMLS[0].read_text())
    config["max_worker"] = config.pop("max_workers")
    with pytest.raises(Exception, match="max_worker"):
        validate_config(fillout_defaults(config))


def test_files_to_mount_are_there() -> None:
    mounts = yaml.safe_load((CLUSTER / "aws.yaml").read_text())["file_mounts"]
    missing = [local for local in mounts.values() if not (CLUSTER.parent / local).exists()]
    assert mounts
    assert not missing


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
