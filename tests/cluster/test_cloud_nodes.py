"""What AWS, Google Cloud and Azure would say of the nodes in the cluster YAMLs, by their APIs' descriptions.

Ray hands `node_config` on unseen and reads `provider` key by key, so that its own schema finds no typo there.
"""

from __future__ import annotations

import copy
import functools
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import boto3
import botocore.session
import googleapiclient
import pytest
import ray.autoscaler
import yaml
from botocore.validate import ParamValidator
from moto import mock_aws
from ray.autoscaler._private.aws import config as aws_config
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.gcp.node import GCPCompute
from ray.autoscaler._private.util import fillout_defaults, prepare_config

from ochat_ray.sizing import read_types

CLUSTER = Path(__file__).parent.parent.parent / "cluster"
CLOUDS = ("aws", "gcp", "azure")

# Keys of `provider` that Ray 2.60 reads, by provider_config and config["provider"] in config.py and
# node_provider.py of ray/autoscaler/_private/{aws,gcp,_azure}; those of all clouds are in autoscaler.py,
# updater.py and constants.py of ray/autoscaler/_private.
OF_ALL = {
    "type": str,
    "cache_stopped_nodes": bool,
    "use_internal_ips": bool,
    "use_external_head_ip": bool,
    "disable_node_updaters": bool,
    "disable_launch_config_check": bool,
    "foreground_node_launch": bool,
    "worker_liveness_check": bool,
}
PROVIDER: Mapping[str, Mapping[str, type]] = {
    "aws": {
        **OF_ALL,
        "region": str,
        "availability_zone": str,
        "aws_credentials": dict,
        "cloudwatch": dict,
        "key_pair": dict,
        "security_group": dict,
    },
    "gcp": {
        **OF_ALL,
        "region": str,
        "availability_zone": str,
        "project_id": str,
        "gcp_credentials": dict,
    },
    "azure": {
        **OF_ALL,
        "location": str,
        "resource_group": str,
        "availability_zone": str,
        "msi_name": str,
        "msi_resource_group": str,
        "subnet_mask": str,
        "subscription_id": str,
        "tags": dict,
        "unique_id": str,
    },
}
NEEDED = {
    "aws": {"region"},
    "gcp": {"region", "availability_zone", "project_id"},
    "azure": {"location", "resource_group"},
}


def config_of(cloud: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((CLUSTER / f"{cloud}.yaml").read_text())
    return config


def provider_faults(provider: Mapping[str, Any], cloud: str) -> list[str]:
    known = PROVIDER[cloud]
    faults = [f"provider: no key {key}" for key in provider if key not in known]
    faults += [f"provider: {key} is missing" for key in NEEDED[cloud] - provider.keys()]
    faults += [
        f"provider.{key}: {value!r} is no {known[key].__name__}"
        for key, value in provider.items()
        if key in known and type(value) is not known[key]
    ]
    return faults


# AWS: botocore's model of RunInstances


@functools.cache
def _model() -> Any:
    return botocore.session.get_session().get_service_model("ec2")


def aws_faults(node_config: Mapping[str, Any], model: Any) -> list[str]:
    """Ray adds the counts, subnets, security groups and the key's name."""
    run = model.operation_model("RunInstances").input_shape
    report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **node_config}, run)
    faults = [report.generate_report()] if report.has_errors() else list(_enum_faults(node_config, run, ""))
    if not re.fullmatch(r"ami-[0-9a-f]{17}", str(node_config.get("ImageId"))):
        faults.append("ImageId: none, so that Ray would take an Ubuntu 18.04")
    return faults


def _enum_faults(value: Any, shape: Any, at: str) -> Iterator[str]:
    """botocore's validator leaves enums to the service."""
    if shape.type_name == "structure":
        for key, item in value.items():
            yield from _enum_faults(item, shape.members[key], f"{at}.{key}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from _enum_faults(item, shape.member, f"{at}[{index}]")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{at}: {value!r} is none of {shape.name}"


# Google Cloud: the discovery document of Compute, as the client library brings it


@functools.cache
def _compute() -> dict[str, Any]:
    documents = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    schemas: dict[str, Any] = json.loads((documents / "compute.v1.json").read_text())["schemas"]
    return schemas


# Ray takes these two out of the body: gcp/node.py, GCPCompute.create_instance.
NOT_IN_BODY = {"networkConfig", "sourceInstanceTemplate"}
# Set by Ray or by Google, never by us.
OUTPUT = {
    "id",
    "name",
    "kind",
    "selfLink",
    "status",
    "statusMessage",
    "creationTimestamp",
    "zone",
    "cpuPlatform",
}
PROJECT_IMAGE = r"projects/[a-z0-9-]+/global/images/(family/)?[a-z0-9-]+"


def gcp_faults(node_config: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:
    body = {key: value for key, value in node_config.items() if key not in NOT_IN_BODY}
    faults = [f"{key} is not ours to set" for key in OUTPUT & body.keys()]
    faults += _schema_faults(body, {"$ref": "Instance"}, schemas, "node")
    if "machineType" not in body:  # Ray would take it for a TPU, or for nothing
        faults.append("node: machineType is missing")
    if faults:
        return faults
    for disk in body.get("disks", []):
        image = disk.get("initializeParams", {}).get("sourceImage", "")
        if disk.get("boot") and not re.fullmatch(PROJECT_IMAGE, image):
            faults.append(f"sourceImage: {image!r} is no image's path")
    scheduling = body.get("scheduling", {})
    if re.match(r"(a|g)\d", body["machineType"]) and scheduling.get("onHostMaintenance") != "TERMINATE":
        faults.append("scheduling: machines with GPUs need onHostMaintenance TERMINATE")
    if "instanceTerminationAction" in scheduling and scheduling.get("provisioningModel") != "SPOT":
        faults.append("scheduling: instanceTerminationAction is for SPOT")
    return faults


def _schema_faults(
    value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any], at: str
) -> Iterator[str]:
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kind = schema["type"]
    if kind == "object":
        if not isinstance(value, dict):
            yield f"{at}: {value!r} is no object"
            return
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for key, item in value.items():
            if key not in known and others is None:
                yield f"{at}: no key {key}"
            else:
                yield from _schema_faults(item, known.get(key, others), schemas, f"{at}.{key}")
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{at}: {value!r} is no array"
            return
        for index, item in enumerate(value):
            yield from _schema_faults(item, schema["items"], schemas, f"{at}[{index}]")
    elif kind == "string" and schema.get("format", "").endswith("int64"):  # numbers are welcome there
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
            yield f"{at}: {value!r} is no whole number"
    elif (
        type(value)
        not in {"string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float)}[kind]
    ):
        yield f"{at}: {value!r} is no {kind}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {', '.join(schema['enum'])}"


# Azure: the parameters of the ARM template in Ray's wheel


@functools.cache
def _arm() -> dict[str, Any]:
    path = Path(ray.autoscaler.__file__).parent / "_private" / "_azure" / "azure-vm-template.json"
    parameters: dict[str, Any] = json.loads(path.read_text())["parameters"]
    return parameters


# _azure/node_provider.py and config.py set these themselves.
OF_RAY = {
    "vmName", "vmTags", "vmCount", "provisionPublicIp", "msi", "nsg", "subnet", "zones", "adminUsername",
    "publicKey",
}  # fmt: skip
ARM_TYPES = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}
# The template does not say what values it takes: API 2024-07-01 of Microsoft.Compute/virtualMachines.
ARM_ENUMS = {"priority": {"Regular", "Low", "Spot"}, "evictionPolicy": {"Deallocate", "Delete"}}
IMAGE = ("imagePublisher", "imageOffer", "imageSku", "imageVersion")


def azure_faults(node_config: Mapping[str, Any], template: Mapping[str, Any]) -> list[str]:
    faults = [f"node: no key {key}" for key in node_config if key not in ("azure_arm_parameters", "tags")]
    given = dict(node_config.get("azure_arm_parameters", {}))
    zone = given.pop("availability_zone", "auto")  # read by Ray, not by the template
    if not isinstance(zone, str):
        faults.append(f"availability_zone: {zone!r} is no string")
    for key, value in given.items():
        if key not in template:
            faults.append(f"azure_arm_parameters: no key {key}")
        elif key in OF_RAY:
            faults.append(f"azure_arm_parameters: {key} is Ray's to set")
        elif type(value) is not ARM_TYPES[template[key]["type"]]:
            faults.append(f"azure_arm_parameters.{key}: {value!r} is no {template[key]['type']}")
        elif value not in ARM_ENUMS.get(key, [value]):
            faults.append(f"azure_arm_parameters.{key}: {value!r} is none of {ARM_ENUMS[key]}")
    needed = {key for key, about in template.items() if "defaultValue" not in about} - OF_RAY
    needed |= set() if given.get("imageId") else set(IMAGE)
    faults += [f"azure_arm_parameters: {key} is missing" for key in sorted(needed - given.keys())]
    price = given.get("billingProfile", {})
    if price and (set(price) != {"maxPrice"} or type(price["maxPrice"]) not in (int, float)):
        faults.append(f"billingProfile: {price} is no maxPrice")
    if (price or "evictionPolicy" in given) and given.get("priority") != "Spot":
        faults.append("billingProfile and evictionPolicy are for Spot")
    if not re.fullmatch(r"Standard_[A-Z]{1,3}\d+[a-z]*(_[A-Z0-9]+)*_v\d", str(given.get("vmSize"))):
        faults.append(f"vmSize: {given.get('vmSize')!r} is no size")
    return faults


# Tests


@pytest.mark.parametrize("cloud", CLOUDS)
def test_ray_reads_the_keys_we_know(cloud: str) -> None:
    code = Path(ray.autoscaler.__file__).parent / "_private"
    folder = code / {"azure": "_azure"}.get(cloud, cloud)
    text = "".join(path.read_text() for path in [*folder.rglob("*.py"), *code.glob("*.py")])
    assert [key for key in PROVIDER[cloud] if f'"{key}"' not in text] == []


def faults_of(cloud: str, config: Mapping[str, Any]) -> list[str]:
    """All that is wrong with a cluster's provider and nodes."""
    check, described = {
        "aws": (aws_faults, _model),
        "gcp": (gcp_faults, _compute),
        "azure": (azure_faults, _arm),
    }[cloud]
    described = described()
    faults = provider_faults(config["provider"], cloud)
    for name, kind in config["available_node_types"].items():
        faults += [f"{name}: {fault}" for fault in check(kind["node_config"], described)]
    return faults


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_cloud_would_take_its_nodes(cloud: str) -> None:
    config = config_of(cloud)
    assert len(config["available_node_types"]) == 5
    assert faults_of(cloud, config) == []


SPOT = ("available_node_types", "cpu_spot", "node_config")
TRAIN = ("available_node_types", "gpu_train", "node_config")


@pytest.mark.parametrize(
    ("cloud", "at", "value", "told"),
    [
        ("aws", ("provider", "regio"), "us-west-2", "no key regio"),
        ("aws", ("provider", "cache_stopped_nodes"), "no", "cache_stopped_nodes.*no bool"),
        ("aws", (*SPOT, "InstanceTyp"), "m5.large", "InstanceTyp"),
        ("aws", (*SPOT, "InstanceType"), "m5.hugest", "m5.hugest"),
        ("aws", (*SPOT, "ImageId"), "latest_dlami", "Ubuntu 18.04"),
        ("aws", (*SPOT, "InstanceMarketOptions"), {"MarketTyp": "spot"}, "MarketTyp"),
        ("aws", (*SPOT, "InstanceMarketOptions", "MarketType"), "sopt", "sopt"),
        ("aws", (*SPOT, "BlockDeviceMappings", 0, "Ebs", "VolumeSize"), "200", "VolumeSize"),
        ("aws", (*SPOT, "BlockDeviceMappings", 0, "Ebs", "VolumeType"), "gp33", "gp33"),
        ("gcp", ("provider", "zone"), "us-central1-a", "no key zone"),
        ("gcp", ("provider", "project_id"), None, "project_id.*no str"),
        ("gcp", (*SPOT, "machineTyp"), "n2-standard-16", "no key machineTyp"),
        ("gcp", (*SPOT, "scheduling"), [{"preemptible": True}], "scheduling.*no object"),
        ("gcp", (*SPOT, "scheduling", "provisioningModel"), "spot", "none of FLEX_START"),
        ("gcp", (*SPOT, "scheduling", "preemptable"), True, "scheduling: no key preemptable"),
        ("gcp", (*SPOT, "disks", 0, "autodelete"), True, r"disks\[0\]: no key autodelete"),
        ("gcp", (*SPOT, "disks", 0, "initializeParams", "diskSizeGb"), "200 GB", "no whole number"),
        (
            "gcp",
            (*SPOT, "disks", 0, "initializeParams", "diskSize"),
            200,
            "initializeParams: no key diskSize",
        ),
        ("gcp", (*SPOT, "disks", 0, "initializeParams", "sourceImage"), "ubuntu", "no image's path"),
        ("gcp", (*SPOT, "name"), "mine", "not ours"),
        ("gcp", (*TRAIN, "scheduling"), {}, "onHostMaintenance"),
        ("azure", ("provider", "region"), "eastus", "no key region"),
        ("azure", ("provider", "tags"), "mine", "tags.*no dict"),
        ("azure", (*SPOT, "azure_arm_parameter"), {}, "no key azure_arm_parameter"),
        ("azure", (*SPOT, "azure_arm_parameters", "vmsize"), "Standard_D16s_v5", "no key vmsize"),
        ("azure", (*SPOT, "azure_arm_parameters", "vmSize"), "D16s_v5", "no size"),
        ("azure", (*SPOT, "azure_arm_parameters", "vmCount"), 2, "Ray's to set"),
        ("azure", (*SPOT, "azure_arm_parameters", "priority"), "spot", "none of"),
        ("azure", (*SPOT, "azure_arm_parameters", "osDiskSize"), "200", "no int"),
        ("azure", (*SPOT, "azure_arm_parameters", "billingProfile"), {"maxprice": -1}, "no maxPrice"),
        ("azure", (*SPOT, "azure_arm_parameters", "availability_zone"), [1, 2], "no string"),
    ],
)
def test_a_typo_is_caught(cloud: str, at: tuple[str | int, ...], value: Any, told: str) -> None:
    config = copy.deepcopy(config_of(cloud))
    place: Any = config
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    faults = faults_of(cloud, config)
    assert faults
    assert re.search(told, "\n".join(faults))


@pytest.mark.parametrize(
    ("cloud", "key"),
    [("aws", "region"), ("gcp", "project_id"), ("azure", "resource_group"), ("azure", "location")],
)
def test_what_is_missing_is_caught(cloud: str, key: str) -> None:
    config = config_of(cloud)
    del config["provider"][key]
    assert f"provider: {key} is missing" in faults_of(cloud, config)


def size_of(cloud: str, node_config: Mapping[str, Any]) -> tuple[int, int]:
    """CPUs and GPUs of a machine: by its name, and of those with GPUs as the clouds' pages give them."""
    with_gpus = {
        "p4de.24xlarge": (96, 8),
        "g6e.4xlarge": (16, 1),
        "a2-ultragpu-8g": (96, 8),
        "a2-ultragpu-1g": (12, 1),
        "Standard_ND96amsr_A100_v4": (96, 8),
        "Standard_NC24ads_A100_v4": (24, 1),
    }
    if cloud == "aws":
        kind = node_config["InstanceType"]
        plain = re.fullmatch(r"m5\.(\d+)xlarge", kind)
        return (int(plain[1]) * 4, 0) if plain else with_gpus[kind]
    kind = node_config["machineType"] if cloud == "gcp" else node_config["azure_arm_parameters"]["vmSize"]
    plain = re.fullmatch(r"n2-standard-(\d+)|Standard_D(\d+)s_v5", kind)
    return (int(plain[1] or plain[2]), 0) if plain else with_gpus[kind]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_resources_are_those_of_the_machine(cloud: str) -> None:
    config = config_of(cloud)
    for name, kind in config["available_node_types"].items():
        cpus, gpus = size_of(cloud, kind["node_config"])
        said = kind["resources"]
        assert said["CPU"] == (0 if name == config["head_node_type"] else cpus), name
        assert said.get("GPU", 0) == gpus, name


@pytest.mark.parametrize("cloud", CLOUDS)
def test_each_stage_has_its_nodes(cloud: str) -> None:
    kinds = {kind.name: kind.resources for kind in read_types(CLUSTER / f"{cloud}.yaml")}
    assert kinds["cpu_spot"].keys() == {"CPU"}
    for name in ("gpu_train", "gpu_train_spot"):
        assert kinds[name]["GPU"] == 8 and kinds[name]["ochat_train"] == 1
    assert kinds["gpu_serve"]["GPU"] == 1 and kinds["gpu_serve"]["ochat_serve"] == 1


def test_rays_own_provider_starts_every_node_on_a_pretended_aws(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What `ray up` and the autoscaler do, with EC2 and IAM played by moto; the sizes are then EC2's own."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "none")
    monkeypatch.setenv("HOME", str(tmp_path))  # a key pair is written there
    monkeypatch.setattr(aws_config.time, "sleep", lambda _: None)
    config = config_of("aws")
    said = {name: kind["resources"] for name, kind in config["available_node_types"].items()}
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
        image = ec2.describe_images()["Images"][0]["ImageId"]
        for name, kind in config["available_node_types"].items():
            kind["node_config"]["ImageId"] = image
            kind["resources"] = {} if name != "head" else kind["resources"]
        config = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(config))
        config = AWSNodeProvider.bootstrap_config(config)
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        for name, kind in config["available_node_types"].items():
            tags = {"ray-node-type": "worker", "ray-user-node-type": name, "ray-node-name": name}
            (started,) = provider.create_node(kind["node_config"], tags, 1)
            found = ec2.describe_instances(InstanceIds=[started])["Reservations"][0]["Instances"][0]
            assert found["InstanceType"] == kind["node_config"]["InstanceType"]
            assert (found.get("InstanceLifecycle") == "spot") == name.endswith("_spot")
            for key in ("CPU", "GPU"):
                assert kind["resources"].get(key, 0) == said[name].get(key, 0), name


def test_what_ray_sends_to_google_is_valid() -> None:
    """The body that Ray makes of a node_config, with the names and labels it adds."""
    compute = MagicMock()
    node = GCPCompute(compute, "my-project", "us-central1-a", "ochat")
    for name, kind in config_of("gcp")["available_node_types"].items():
        node.get_new_authorized_http = MagicMock()
        node.create_instance(
            kind["node_config"], {"ray-node-name": "ray-ochat-worker"}, wait_for_operation=False
        )
        body = compute.instances().insert.call_args.kwargs["body"]
        assert list(_schema_faults(body, {"$ref": "Instance"}, _compute(), name)) == []
        assert body["machineType"].startswith(
            "zones/us-central1-a/machineTypes/a2" if "gpu" in name else "zones/"
        )


def spot(cloud: str, node_config: Mapping[str, Any]) -> bool:
    if cloud == "aws":
        return bool(node_config.get("InstanceMarketOptions", {}).get("MarketType") == "spot")
    if cloud == "gcp":
        return bool(node_config.get("scheduling", {}).get("provisioningModel") == "SPOT")
    return bool(node_config["azure_arm_parameters"].get("priority") == "Spot")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_is_called_spot_is_spot(cloud: str) -> None:
    kinds = config_of(cloud)["available_node_types"]
    assert {name for name, kind in kinds.items() if spot(cloud, kind["node_config"])} == {
        "cpu_spot",
        "gpu_train_spot",
    }


COMMANDS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands",
)  # fmt: skip


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_cluster_demands_a_token_and_hides_its_dashboard(cloud: str) -> None:
    config = config_of(cloud)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = [
        command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in config[key]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token ray start" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "0.0.0.0" not in (CLUSTER / f"{cloud}.yaml").read_text()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_command_is_one_of_rays_defaults(cloud: str) -> None:
    """Ray fills in what is left out, from defaults that install a nightly Ray for another Python."""
    config = config_of(cloud)
    filled = fillout_defaults(config)
    assert all(filled[key] == config[key] for key in COMMANDS)


def test_clusters_install_the_same() -> None:
    aws, gcp, azure = (
        [c for c in config_of(cloud)["setup_commands"] if "STORAGE=" not in c] for cloud in CLOUDS
    )
    assert aws == gcp == azure
    for cloud in CLOUDS:
        assert len([c for c in config_of(cloud)["setup_commands"] if c.startswith("STORAGE=")]) == 1


def test_clusters_install_extras_of_the_project() -> None:
    known = tomllib.loads((CLUSTER.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    commands = config_of("aws")["setup_commands"]
    installs = [re.search(r"/tmp/ochat-install\[(.*)\]", command) for command in commands]
    named = {extra for match in installs if match for extra in match[1].split(",")}
    assert named == {"all", "ui", "deepspeed"}  # cluster/serve.yaml has a chat page
    assert named <= known.keys()


def test_the_head_on_azure_has_what_ray_says_it_needs() -> None:
    """Ray's provider works with these very versions; its own list is in the defaults that we do not take."""
    defaults = yaml.safe_load((Path(ray.autoscaler.__file__).parent / "azure" / "defaults.yaml").read_text())

    def pins(commands: list[str]) -> set[str]:
        return {word for command in commands for word in command.split() if "==" in word}

    needed = pins(defaults["head_setup_commands"])
    assert needed
    assert pins(config_of("azure")["head_setup_commands"]) == needed


@pytest.mark.parametrize("cloud", CLOUDS)
def test_commands_are_valid_shell(cloud: str, tmp_path: Path) -> None:
    config = config_of(cloud)
    commands = [command for key in COMMANDS for command in config[key]]
    assert len(commands) > 8
    script = tmp_path / "commands.sh"
    script.write_text("\n".join(commands))
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
