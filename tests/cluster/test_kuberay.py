"""KubeRay's manifests: strictly valid, of few rights, consistent, and what Ray makes of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

from ochat_ray.config import load_recipe
from ochat_ray.sizing import Work, plan, read_types
from tests.cluster import strict_serve
from tests.cluster.kubernetes_objects import faults_of

CLUSTER = Path(__file__).parent.parent.parent / "cluster"
KUBERAY = CLUSTER / "kuberay"
FILES = sorted(KUBERAY.glob("*.yaml"))
RAY = ("raycluster.yaml", "rayjob.yaml", "rayservice.yaml")


def objects(*names: str) -> list[dict[str, Any]]:
    """The objects of the files with these names, of all files without."""
    paths = [KUBERAY / name for name in names] or FILES
    return [thing for path in paths for thing in yaml.safe_load_all(path.read_text()) if thing is not None]


def one(name: str) -> dict[str, Any]:
    (thing,) = objects(name)
    return thing


def cluster_of(thing: dict[str, Any]) -> dict[str, Any]:
    """The RayClusterSpec in one of KubeRay's objects."""
    spec = thing["spec"]
    cluster: dict[str, Any] = spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec
    return cluster


def templates(thing: Any) -> Iterator[dict[str, Any]]:
    """Every pod's template in an object."""
    if isinstance(thing, dict):
        for key, item in thing.items():
            if key in ("template", "submitterPodTemplate"):
                yield item
            yield from templates(item)
    elif isinstance(thing, list):
        for item in thing:
            yield from templates(item)


def test_files_are_there() -> None:
    assert {path.name for path in FILES} == {
        *RAY,
        "redis.yaml",
        "network-policy.yaml",
        "prometheus-operator.yaml",
        "disruption-budget.yaml",
        "secrets.example.yaml",
        "storage.yaml",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_objects_are_valid(path: Path) -> None:
    things = objects(path.name)
    assert things
    assert {thing["metadata"]["name"]: faults_of(thing) for thing in things} == {
        thing["metadata"]["name"]: [] for thing in things
    }


HEAD = ("spec", "headGroupSpec", "template", "spec")
WORKER = ("spec", "workerGroupSpecs", 0)


@pytest.mark.parametrize(
    ("name", "at", "value", "told"),
    [
        ("raycluster.yaml", ("apiVersion",), "ray.io/v1alpha1", "no kind RayCluster"),
        ("raycluster.yaml", ("metadata", "name"), "Ochat", "no name"),
        ("raycluster.yaml", ("spec", "rayVersions"), "2.60.0", "no key rayVersions"),
        ("raycluster.yaml", ("spec", "rayVersion"), 2.6, "no str"),
        ("raycluster.yaml", ("spec", "authOptions", "mode"), "tokens", "none of disabled, token"),
        ("raycluster.yaml", ("spec", "authOptions", "secret"), "x", "no key secret"),
        ("raycluster.yaml", ("spec", "autoscalerOptions", "version"), "2", "none of v1, v2"),
        ("raycluster.yaml", ("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0, "no str"),
        ("raycluster.yaml", (*WORKER, "maxReplica"), 3, "no key maxReplica"),
        ("raycluster.yaml", (*WORKER, "replicas"), 50, "0 <= 50 <= 32"),
        ("raycluster.yaml", (*HEAD, "restartPolicy"), "never", "none of"),
        ("raycluster.yaml", (*HEAD, "container"), [], "no key container"),
        ("raycluster.yaml", (*HEAD, "containers", 0, "imag"), "x", "no key imag"),
        ("raycluster.yaml", (*HEAD, "containers", 0, "env", 0, "value"), 1, "no str"),
        ("raycluster.yaml", (*HEAD, "containers", 0, "ports", 0, "containerPort"), "6379", "no int"),
        (
            "raycluster.yaml",
            (*HEAD, "containers", 0, "ports", 0),
            {"name": "gcs"},
            "containerPort is missing",
        ),
        ("raycluster.yaml", (*HEAD, "containers", 0, "resources", "limits", "memory"), "16 GB", "no amount"),
        ("raycluster.yaml", (*HEAD, "containers", 0, "resources", "limits", "cpu"), 4, "no str"),
        ("raycluster.yaml", (*HEAD, "containers", 0, "livenessProbe", "httpget"), {}, "no key httpget"),
        ("raycluster.yaml", (*HEAD, "containers", 0, "livenessProbe", "exec"), {"command": ["x"]}, "one of"),
        ("raycluster.yaml", (*HEAD, "securityContext", "runAsNonroot"), True, "no key runAsNonroot"),
        ("raycluster.yaml", (*HEAD, "volumes", 0, "name"), "autoscaler-token", "is there 2 times"),
        ("raycluster.yaml", (*WORKER, "template", "metadata", "labels", "a b"), "x", "no label"),
        (
            "raycluster.yaml",
            (*WORKER, "template", "spec", "tolerations", 0, "effect"),
            "NoSchedul",
            "none of",
        ),
        ("rayjob.yaml", ("spec", "entryPoint"), "x", "no key entryPoint"),
        ("rayjob.yaml", ("spec", "submissionMode"), "K8SJobMode", "none of"),
        ("rayjob.yaml", ("spec", "submitterPodTemplate", "spec", "containers"), None, "no list"),
        (
            "rayjob.yaml",
            ("spec", "rayClusterSpec", "workerGroupSpecs", 1, "groupname"),
            "x",
            "no key groupname",
        ),
        ("rayservice.yaml", ("spec", "serveConfig"), "x", "no key serveConfig"),
        (
            "rayservice.yaml",
            ("spec", "rayClusterConfig", "gcsFaultToleranceOptions", "redis"),
            "x",
            "no key redis",
        ),
        ("rayservice.yaml", ("spec", "upgradeStrategy", "type"), "NewClusters", "none of"),
        ("storage.yaml", ("spec", "accessModes", 0), "ReadWriteAll", "none of"),
        ("storage.yaml", ("spec", "storageClass"), "x", "no key storageClass"),
        ("storage.yaml", ("spec", "resources", "requests", "storage"), "2TB", "no amount of storage"),
    ],
)
def test_a_typo_is_caught(name: str, at: tuple[str | int, ...], value: Any, told: str) -> None:
    thing = one(name)
    place: Any = thing
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    assert re.search(told, "\n".join(faults_of(thing)))


def test_what_is_missing_is_caught() -> None:
    for at, key in ((("spec",), "headGroupSpec"), (WORKER, "groupName"), (HEAD, "containers")):
        thing = one("raycluster.yaml")
        place: Any = thing
        for step in at:
            place = place[step]
        del place[key]
        assert f"{key} is missing" in "\n".join(faults_of(thing))


def test_pods_have_few_rights() -> None:
    """What Kubernetes' Pod Security Standard "restricted" asks for, and no token of a service account in what
    runs others' code."""
    pods = [template for thing in objects() for template in templates(thing)]
    assert len(pods) == 11
    for pod in pods:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & spec.keys()
        assert not [volume for volume in spec.get("volumes", []) if "hostPath" in volume]
        for container in spec["containers"]:
            assert unprivileged(container["securityContext"])
            assert container["resources"]["limits"].keys() == container["resources"]["requests"].keys()


def unprivileged(context: dict[str, Any]) -> bool:
    return (
        context["allowPrivilegeEscalation"] is False
        and context["capabilities"] == {"drop": ["ALL"]}
        and not context.get("privileged")
    )


def test_only_the_autoscaler_gets_a_token_of_the_service_account() -> None:
    for name in RAY:
        cluster = cluster_of(one(name))
        head = cluster["headGroupSpec"]["template"]["spec"]
        (mount,) = cluster["autoscalerOptions"]["volumeMounts"]
        assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
        assert unprivileged(cluster["autoscalerOptions"]["securityContext"])
        assert mount["name"] in {volume["name"] for volume in head["volumes"]}
        assert all(mount["name"] != other["name"] for other in head["containers"][0]["volumeMounts"])


def test_what_is_used_by_name_is_declared() -> None:
    secrets = {
        (s["metadata"]["name"], key) for s in objects("secrets.example.yaml") for key in s["stringData"]
    }
    claims = {thing["metadata"]["name"] for thing in objects("storage.yaml")}
    used: set[tuple[str, str]] = set()
    for thing in objects():
        used |= set(secret_refs(thing))
        if thing["kind"].startswith("Ray"):
            used.add((cluster_of(thing)["authOptions"]["secretName"], "auth_token"))
        for template in templates(thing):
            volumes = template["spec"].get("volumes", [])
            own = {claim["metadata"]["name"] for claim in thing["spec"].get("volumeClaimTemplates", [])}
            named = {volume["name"] for volume in volumes} | own
            for container in template["spec"]["containers"]:
                assert {mount["name"] for mount in container.get("volumeMounts", [])} <= named
            asked = {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v}
            assert asked <= claims
    assert used == secrets


def secret_refs(thing: Any) -> Iterator[tuple[str, str]]:
    if isinstance(thing, dict):
        for key, item in thing.items():
            if key == "secretKeyRef":
                yield item["name"], item["key"]
            else:
                yield from secret_refs(item)
    elif isinstance(thing, list):
        for item in thing:
            yield from secret_refs(item)


def test_no_secret_is_in_the_files() -> None:
    assert {value for s in objects("secrets.example.yaml") for value in s["stringData"].values()} == {
        "REPLACE-ME"
    }


@pytest.mark.parametrize("name", RAY)
def test_the_operator_would_accept(name: str) -> None:
    """Rules of KubeRay's ray-operator/controllers/ray/utils/validation.go beyond its types."""
    cluster = cluster_of(one(name))
    pins = (CLUSTER.parent / "constraints.txt").read_text()
    assert f"\nray=={cluster['rayVersion']}\n" in pins
    assert cluster["authOptions"]["mode"] == "token"  # needs Ray 2.52
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert group["template"]["spec"]["restartPolicy"] == "Never"
        env = {entry["name"] for entry in group["template"]["spec"]["containers"][0]["env"]}
        assert not env & {"RAY_enable_autoscaler_v2", "RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME"}
        assert not env & {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}  # the operator's to set
        assert "labels" not in group["rayStartParams"]


@pytest.mark.parametrize("name", RAY)
def test_rays_autoscaler_sees_the_sizes(name: str) -> None:
    thing = one(name)
    cr = {"metadata": {"name": "x", "namespace": "y"}, "spec": cluster_of(thing)}
    kinds = _derive_autoscaling_config_from_ray_cr(cr)["available_node_types"]
    assert kinds.pop("headgroup")["resources"]["CPU"] == 0, "the head must run no work"
    ours = {kind.name: kind for kind in read_types(KUBERAY / name)}
    assert kinds.keys() == ours.keys()
    for group, kind in kinds.items():
        resources = {key: value for key, value in kind["resources"].items() if key != "memory"}
        assert resources == {key: value for key, value in ours[group].resources.items() if value}
        assert kind["max_workers"] == ours[group].most


@pytest.mark.parametrize("name", RAY)
def test_gpu_workers_go_to_gpu_nodes(name: str) -> None:
    groups = cluster_of(one(name))["workerGroupSpecs"]
    assert groups
    for group in groups:
        spec = group["template"]["spec"]
        gpus = "nvidia.com/gpu" in spec["containers"][0]["resources"]["limits"]
        assert gpus == (group["groupName"] != "cpu")
        assert gpus == any(one["key"] == "nvidia.com/gpu" for one in spec["tolerations"])
        assert spec["nodeSelector"] == {"ochat-ray/pool": group["groupName"]}
        assert spec["containers"][0]["image"].endswith(":cuda" if gpus else ":cpu")


@pytest.mark.parametrize("name", RAY)
def test_pods_are_watched(name: str) -> None:
    cluster = cluster_of(one(name))
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    assert all({"startupProbe", "livenessProbe", "readinessProbe"} <= c.keys() for c in containers)
    assert {c["livenessProbe"]["httpGet"]["path"] for c in containers} == {"/api/healthz"}


def test_the_job_is_placed_on_its_cluster() -> None:
    """Its recipe is one that its own nodes can run: every stage but serving, which is not the job's."""
    spec = one("rayjob.yaml")["spec"]
    shell = shlex.split(spec["entrypoint"])
    assert shell[:2] == ["bash", "-c"] and len(shell) == 3
    commands = [shlex.split(command) for command in shell[2].split("&&")]
    jobs = {Path(words[1]).name for words in commands}
    assert jobs == {"prepare.py", "train.py"}
    assert all((CLUSTER.parent / "jobs" / name).is_file() for name in jobs)
    assert all(words[1].startswith("/opt/ochat/jobs/") for words in commands)
    prepared, trained = commands
    assert prepared[3] == trained[2], "training reads what was prepared"
    changes = [word for words in commands for word in words if re.match(r"\w+\.\w+=", word)]
    recipe = load_recipe(trained[trained.index("--recipe") + 1], changes)
    work = Work(pages=1e6, tokens=1e9, tokens_per_worker_s=1e3)
    data, train, _ = plan(recipe, read_types(KUBERAY / "rayjob.yaml"), work)
    placed = (data.kinds, train.kinds, data.warnings, train.warnings)
    assert placed == (("cpu",), ("gpu-train",), (), ())
    assert (train.least, train.most) == (1, 2)  # elastic, by train.min_workers
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "600"}}
    grace = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > 600


def test_the_endpoint_survives_the_loss_of_a_node() -> None:
    spec = one("rayservice.yaml")["spec"]
    serve = yaml.safe_load(spec["serveConfigV2"])
    cluster = spec["rayClusterConfig"]
    (group,) = cluster["workerGroupSpecs"]
    endpoint = serve["applications"][0]["args"]["serve"]
    assert serve["proxy_location"] == "EveryNode"
    assert group["minReplicas"] >= 2 and endpoint["ingress_replicas"] >= 2
    assert endpoint["autoscaling"]["min_replicas"] >= 2
    assert endpoint["autoscaling"]["max_replicas"] <= group["maxReplicas"]
    (kind,) = read_types(KUBERAY / "rayservice.yaml")
    assert kind.resources[endpoint["pool"]] == 1
    service = next(thing for thing in objects("redis.yaml") if thing["kind"] == "Service")
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert cluster["gcsFaultToleranceOptions"]["redisAddress"] == address
    for template in templates(cluster):
        env = {entry["name"]: entry["value"] for entry in template["spec"]["containers"][0]["env"]}
        assert int(env["RAY_gcs_rpc_server_reconnect_timeout_s"]) >= 600


def test_the_endpoints_port_is_one() -> None:
    """KubeRay makes the service of the head's port named serve, and asks workers at theirs."""
    spec = one("rayservice.yaml")["spec"]
    port = yaml.safe_load(spec["serveConfigV2"])["http_options"]["port"]
    pods = list(templates(spec["rayClusterConfig"]))
    assert len(pods) == 2
    for pod in pods:
        ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
        assert ports["serve"] == port
    ready = pods[1]["spec"]["containers"][0]["readinessProbe"]["exec"]["command"][-1]
    assert f":{port}/-/healthz" in ready
    log = yaml.safe_load(spec["serveConfigV2"])["applications"][0]["args"]["serve"]["access"]["log"]["path"]
    mounts = {m["mountPath"] for m in pods[1]["spec"]["containers"][0]["volumeMounts"]}
    assert str(Path(log).parent) in mounts, "a user that is not root cannot write elsewhere"


def test_policies_and_budgets_meet_the_pods() -> None:
    labels = [template["metadata"]["labels"] for thing in objects() for template in templates(thing)]
    selectors = [thing["spec"]["podSelector"] for thing in objects("network-policy.yaml")]
    selectors += [thing["spec"]["selector"] for thing in objects("disruption-budget.yaml")]
    assert len(selectors) == 4
    for selector in selectors:
        assert any(selector["matchLabels"].items() <= of_pod.items() for of_pod in labels), selector
    for of_pod in labels:  # every pod is under a policy
        assert any(s["matchLabels"].items() <= of_pod.items() for s in selectors[:2]), of_pod
    for budget in objects("disruption-budget.yaml"):
        assert type(budget["spec"]["minAvailable"]) is int and "maxUnavailable" not in budget["spec"]


def test_policies_let_through_only_named_ports() -> None:
    port = yaml.safe_load(one("rayservice.yaml")["spec"]["serveConfigV2"])["http_options"]["port"]
    policy, redis = objects("network-policy.yaml")
    for thing in (policy, redis):
        assert thing["spec"]["policyTypes"] == ["Ingress", "Egress"]
    outside = [rule for rule in policy["spec"]["ingress"] if "ports" in rule]
    assert {p["port"] for rule in outside for p in rule["ports"]} == {8265, 8080, port}
    (inside,) = [rule for rule in policy["spec"]["ingress"] if "ports" not in rule]
    assert inside["from"] == [{"podSelector": policy["spec"]["podSelector"]}]
    dashboard = [rule for rule in outside if 8265 in {p["port"] for p in rule["ports"]}]
    assert len(dashboard) == 1
    assert dashboard[0]["from"][0]["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "kuberay-operator"
    }
    assert dashboard[0]["from"][0]["namespaceSelector"] == {
        "matchLabels": {"kubernetes.io/metadata.name": "kuberay-system"}
    }


# Serve's configuration


def serve_files() -> dict[str, dict[str, Any]]:
    return {
        "serve.yaml": yaml.safe_load((CLUSTER / "serve.yaml").read_text()),
        "rayservice.yaml": yaml.safe_load(one("rayservice.yaml")["spec"]["serveConfigV2"]),
    }


@pytest.mark.parametrize("name", ["serve.yaml", "rayservice.yaml"])
def test_serves_configuration_is_valid(name: str) -> None:
    config = serve_files()[name]
    assert len(config["applications"]) == 2
    assert strict_serve.faults_of(config) == []


ENDPOINT = ("applications", 0)


@pytest.mark.parametrize(
    ("at", "value", "told"),
    [
        (("proxy_locations",), "EveryNode", "did you mean proxy_location"),
        (("proxy_location",), "EveryNodes", "proxy_location"),
        (("http_options", "prot"), 1, "http_options.prot: no such key"),
        (("http_options", "port"), "many", "http_options.port"),
        (("http_options", "port"), 8000, "not on the port"),
        (("logging_config", "encodings"), "JSON", "logging_config.encodings"),
        ((*ENDPOINT, "import_pat"), "x", "applications.0.import_pat"),
        ((*ENDPOINT, "import_path"), "ochat_ray.serve.build:end", "none of"),
        ((*ENDPOINT, "route_prefix"), "/chat", "route prefix"),
        ((*ENDPOINT, "deployments"), [{"name": "engine", "num_replica": 2}], "deployments.0.num_replica"),
        (
            (*ENDPOINT, "deployments"),
            [{"name": "engine", "autoscaling_config": {"min_replicas": 3, "max_replicas": 2}}],
            "3 is more than max_replicas, 2",
        ),
        (
            (*ENDPOINT, "deployments"),
            [{"name": "engine", "autoscaling_config": {"min_replica": 3}}],
            "autoscaling_config.min_replica: no such key",
        ),
        (
            (*ENDPOINT, "deployments"),
            [{"name": "engine", "ray_actor_options": {"num_cpu": 3}}],
            "ray_actor_options.num_cpu",
        ),
        ((*ENDPOINT, "args", "models"), "x", "unknown key `models`"),
        ((*ENDPOINT, "args", "serve", "gpu_per_replica"), 1, "unknown key"),
        ((*ENDPOINT, "args", "serve", "engine", "max_runing"), 1, "serve.engine.max_runing"),
        ((*ENDPOINT, "args", "serve", "autoscaling", "min_replicas"), 9, "is more than max_replicas"),
        (("applications", 1, "args", "page", "titel"), "Chat", "page.titel"),
    ],
)
def test_a_typo_in_serves_configuration_is_caught(at: tuple[str | int, ...], value: Any, told: str) -> None:
    for config in serve_files().values():
        place: Any = config
        for key in at[:-1]:
            place = place[key]
        place[at[-1]] = value
        assert re.search(told, "\n".join(strict_serve.faults_of(config)))


def test_prometheus_finds_the_ports_by_the_names_that_alerts_know() -> None:
    alerts = (CLUSTER / "monitoring" / "alerts.yaml").read_text()
    jobs = set()
    for monitor in objects("prometheus-operator.yaml"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        pods = [pod for name in RAY for pod in templates(one(name))]
        ports = [
            port["name"]
            for pod in pods
            if wanted <= pod["metadata"]["labels"].items()
            for container in pod["spec"]["containers"]
            for port in container.get("ports", [])
        ]
        assert endpoint["port"] in ports
        jobs |= {step["replacement"] for step in endpoint["relabelings"] if step["targetLabel"] == "job"}
    assert jobs == set(re.findall(r'job="([^"]+)"', alerts))


def test_a_typo_in_a_monitor_is_caught() -> None:
    monitor, _ = objects("prometheus-operator.yaml")
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"
    assert faults_of(monitor) == ["PodMonitor.spec.podMetricsEndpoints[0]: no key intervall"]
