"""Strict validation of Kubernetes objects, by the models of its Python client, and of operators', by tables.

The client's own deserialisation drops unknown keys, and KubeRay's CRDs prune them: a typo is silent in both.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import kubernetes.client as api

# Objects of which the client has the models.
CORE = {
    ("v1", "PersistentVolumeClaim"): "V1PersistentVolumeClaim",
    ("v1", "Secret"): "V1Secret",
    ("v1", "Service"): "V1Service",
    ("apps/v1", "StatefulSet"): "V1StatefulSet",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
}

# KubeRay 1.7, ray-operator/apis/ray/v1/raycluster_types.go, rayjob_types.go and rayservice_types.go: the json
# names of each struct's fields, less those that need a feature gate. A type is a struct of this table, a
# model of the client, or a scalar.
TABLES: Mapping[str, Mapping[str, str]] = {
    "RayCluster": {"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta", "spec": "RayClusterSpec"},
    "RayJob": {"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta", "spec": "RayJobSpec"},
    "RayService": {"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta", "spec": "RayServiceSpec"},
    "RayClusterSpec": {
        "upgradeStrategy": "RayClusterUpgradeStrategy",
        "authOptions": "AuthOptions",
        "suspend": "bool",
        "managedBy": "str",
        "autoscalerOptions": "AutoscalerOptions",
        "headServiceAnnotations": "Dict[str, str]",
        "enableInTreeAutoscaling": "bool",
        "gcsFaultToleranceOptions": "GcsFaultToleranceOptions",
        "headGroupSpec": "HeadGroupSpec",
        "rayVersion": "str",
        "workerGroupSpecs": "List[WorkerGroupSpec]",
    },
    "RayClusterUpgradeStrategy": {"type": "str"},
    "AuthOptions": {"enableK8sTokenAuth": "bool", "secretName": "str", "mode": "str"},
    "GcsFaultToleranceOptions": {
        "redisUsername": "RedisCredential",
        "redisPassword": "RedisCredential",
        "externalStorageNamespace": "str",
        "redisAddress": "str",
    },
    "RedisCredential": {"valueFrom": "V1EnvVarSource", "value": "str"},
    "HeadGroupSpec": {
        "template": "V1PodTemplateSpec",
        "headService": "V1Service",
        "enableIngress": "bool",
        "resources": "Dict[str, str]",
        "labels": "Dict[str, str]",
        "rayStartParams": "Dict[str, str]",
        "serviceType": "str",
    },
    "WorkerGroupSpec": {
        "suspend": "bool",
        "groupName": "str",
        "replicas": "int",
        "minReplicas": "int",
        "maxReplicas": "int",
        "idleTimeoutSeconds": "int",
        "priority": "int",
        "resources": "Dict[str, str]",
        "labels": "Dict[str, str]",
        "rayStartParams": "Dict[str, str]",
        "template": "V1PodTemplateSpec",
        "scaleStrategy": "ScaleStrategy",
        "numOfHosts": "int",
    },
    "ScaleStrategy": {"workersToDelete": "List[str]"},
    "AutoscalerOptions": {
        "resources": "V1ResourceRequirements",
        "image": "str",
        "imagePullPolicy": "str",
        "securityContext": "V1SecurityContext",
        "idleTimeoutSeconds": "int",
        "upscalingMode": "str",
        "version": "str",
        "env": "List[V1EnvVar]",
        "envFrom": "List[V1EnvFromSource]",
        "volumeMounts": "List[V1VolumeMount]",
        "command": "List[str]",
        "args": "List[str]",
    },
    "RayJobSpec": {
        "activeDeadlineSeconds": "int",
        "backoffLimit": "int",
        "rayClusterSpec": "RayClusterSpec",
        "submitterPodTemplate": "V1PodTemplateSpec",
        "metadata": "Dict[str, str]",
        "clusterSelector": "Dict[str, str]",
        "submitterConfig": "SubmitterConfig",
        "managedBy": "str",
        "entrypoint": "str",
        "runtimeEnvYAML": "str",
        "jobId": "str",
        "submissionMode": "str",
        "entrypointResources": "str",
        "entrypointNumCpus": "float",
        "entrypointNumGpus": "float",
        "ttlSecondsAfterFinished": "int",
        "preRunningDeadlineSeconds": "int",
        "shutdownAfterJobFinishes": "bool",
        "suspend": "bool",
    },
    "SubmitterConfig": {"backoffLimit": "int"},
    "RayServiceSpec": {
        "rayClusterDeletionDelaySeconds": "int",
        "serveService": "V1Service",
        "upgradeStrategy": "RayServiceUpgradeStrategy",
        "serveConfigV2": "str",
        "rayClusterConfig": "RayClusterSpec",
        "excludeHeadPodFromServeSvc": "bool",
        "managedBy": "str",
        "suspend": "bool",
    },
    "RayServiceUpgradeStrategy": {"type": "str"},
    # Prometheus' operator, pkg/apis/monitoring/v1/podmonitor_types.go: the fields that are of use here.
    "PodMonitor": {"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta", "spec": "PodMonitorSpec"},
    "PodMonitorSpec": {
        "selector": "V1LabelSelector",
        "podMetricsEndpoints": "List[PodMetricsEndpoint]",
        "podTargetLabels": "List[str]",
        "sampleLimit": "int",
    },
    "PodMetricsEndpoint": {
        "port": "str",
        "path": "str",
        "interval": "str",
        "scrapeTimeout": "str",
        "authorization": "SafeAuthorization",
        "relabelings": "List[RelabelConfig]",
    },
    "SafeAuthorization": {"type": "str", "credentials": "V1SecretKeySelector"},
    "RelabelConfig": {
        "sourceLabels": "List[str]",
        "targetLabel": "str",
        "regex": "str",
        "replacement": "str",
        "action": "str",
    },
}
REQUIRED = {
    "PodMonitor": ("metadata", "spec"),
    "PodMonitorSpec": ("selector", "podMetricsEndpoints"),
    "PodMetricsEndpoint": ("port",),
    "RayCluster": ("metadata", "spec"),
    "RayJob": ("metadata", "spec"),
    "RayService": ("metadata", "spec"),
    "RayClusterSpec": ("headGroupSpec",),
    "RayServiceSpec": ("rayClusterConfig",),
    "HeadGroupSpec": ("template", "rayStartParams"),
    "WorkerGroupSpec": ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
}
# Values that the Go types or the API's reference name; the client has no enums.
ENUMS: Mapping[tuple[str, str], set[str]] = {
    ("AuthOptions", "mode"): {"disabled", "token"},
    ("AutoscalerOptions", "version"): {"v1", "v2"},
    ("AutoscalerOptions", "upscalingMode"): {"Default", "Aggressive", "Conservative"},
    ("RayClusterUpgradeStrategy", "type"): {"Recreate", "None"},
    ("RayServiceUpgradeStrategy", "type"): {"NewCluster", "NewClusterWithIncrementalUpgrade", "None"},
    ("RayJobSpec", "submissionMode"): {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"},
    ("V1Container", "imagePullPolicy"): {"Always", "IfNotPresent", "Never"},
    ("V1PodSpec", "restartPolicy"): {"Always", "OnFailure", "Never"},
    ("V1PodSecurityContext", "fsGroupChangePolicy"): {"Always", "OnRootMismatch"},
    ("V1SeccompProfile", "type"): {"RuntimeDefault", "Localhost", "Unconfined"},
    ("V1Toleration", "operator"): {"Exists", "Equal"},
    ("V1Toleration", "effect"): {"NoSchedule", "PreferNoSchedule", "NoExecute"},
    ("V1TopologySpreadConstraint", "whenUnsatisfiable"): {"DoNotSchedule", "ScheduleAnyway"},
    ("V1EmptyDirVolumeSource", "medium"): {"", "Memory"},
    ("V1NetworkPolicyPort", "protocol"): {"TCP", "UDP", "SCTP"},
    ("V1ServicePort", "protocol"): {"TCP", "UDP", "SCTP"},
    ("V1ServiceSpec", "type"): {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"},
    ("V1PersistentVolumeClaimSpec", "accessModes"): {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"},
    ("V1NetworkPolicySpec", "policyTypes"): {"Ingress", "Egress"},
}
OPERATORS = {
    ("ray.io/v1", "RayCluster"),
    ("ray.io/v1", "RayJob"),
    ("ray.io/v1", "RayService"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
}
PYTHON = {"str": str, "int": int, "bool": bool}
QUANTITY = r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?"
LABEL = r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?"
LABEL_VALUE = r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?"
NAME = r"[a-z]([-a-z0-9.]*[a-z0-9])?"


def faults_of(thing: Any) -> list[str]:
    """All that is wrong with an object of a manifest."""
    if not isinstance(thing, dict):
        return [f"{thing!r} is no object"]
    version, kind = thing.get("apiVersion"), thing.get("kind")
    if (version, kind) in OPERATORS:
        model = kind
    elif (version, kind) in CORE:
        model = CORE[version, kind]
    else:
        return [f"no kind {kind} of {version} is known here"]
    faults = list(_faults(thing, model, model))
    name = thing.get("metadata", {}).get("name", "")
    if not re.fullmatch(NAME, name) or len(name) > 47:  # KubeRay's limit for RayJob and RayService
        faults.append(f"metadata.name: {name!r} is no name")
    return faults


def _faults(value: Any, kind: str, at: str) -> Iterator[str]:
    listed = re.fullmatch(r"List\[(.*)\]", kind)
    mapped = re.fullmatch(r"Dict\[str, (.*)\]", kind)
    if listed:
        if not isinstance(value, list):
            yield f"{at}: {value!r} is no list"
            return
        for index, item in enumerate(value):
            yield from _faults(item, listed[1], f"{at}[{index}]")
    elif mapped:
        if not isinstance(value, dict):
            yield f"{at}: {value!r} is no mapping"
            return
        for key, item in value.items():
            yield from _faults(key, "str", f"{at} key")
            yield from _faults(item, mapped[1], f"{at}.{key}")
    elif kind in PYTHON:
        if type(value) is not PYTHON[kind]:
            yield f"{at}: {value!r} is no {kind}"
    elif kind == "float":
        if type(value) not in (int, float):
            yield f"{at}: {value!r} is no number"
    elif kind == "object":  # a number or a text, such as the port of a probe
        if type(value) not in (int, str):
            yield f"{at}: {value!r} is neither number nor text"
    elif not isinstance(value, dict):
        yield f"{at}: {value!r} is no {kind}"
    else:
        yield from _struct_faults(value, kind, at)


def _struct_faults(value: Mapping[str, Any], kind: str, at: str) -> list[str]:
    fields, required = _fields(kind)
    faults = [f"{at}: {key} is missing" for key in required if key not in value]
    for key, item in value.items():
        if key not in fields:
            faults.append(f"{at}: no key {key}")
            continue
        faults += _faults(item, fields[key], f"{at}.{key}")
        allowed = ENUMS.get((kind, key))
        for one in item if isinstance(item, list) else [item]:
            if allowed and one not in allowed:
                faults.append(f"{at}.{key}: {one!r} is none of {', '.join(sorted(allowed))}")
    check = CHECKS.get(kind)
    if check and not faults:
        faults += [f"{at}: {fault}" for fault in check(value)]
    return faults


@functools.cache
def _fields(kind: str) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Types of a struct's fields by their names in YAML, and the names of those that must be there."""
    if kind in TABLES:
        return TABLES[kind], REQUIRED.get(kind, ())
    model = getattr(api, kind)
    names = model.attribute_map
    needed = tuple(names[attribute] for attribute, field in model.model_fields.items() if field.is_required())
    return {names[attribute]: of for attribute, of in model.openapi_types.items()}, needed


def _resources(value: Mapping[str, Any]) -> Iterator[str]:
    limits, requests = value.get("limits", {}), value.get("requests", {})
    for key, amount in [*limits.items(), *requests.items()]:
        if not re.fullmatch(QUANTITY, amount):
            yield f"{amount!r} is no amount of {key}"
    if requests.get("nvidia.com/gpu") != limits.get("nvidia.com/gpu"):
        yield "GPUs are requested and limited alike, or not at all"


def _labels(value: Mapping[str, Any]) -> Iterator[str]:
    for key, text in {**(value.get("labels") or {}), **(value.get("matchLabels") or {})}.items():
        if not re.fullmatch(LABEL, str(key)) or not re.fullmatch(LABEL_VALUE, str(text)):
            yield f"{key}={text} is no label"


HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def _probe(value: Mapping[str, Any]) -> Iterator[str]:
    if len([key for key in HANDLERS if key in value]) != 1:
        yield f"one of {', '.join(HANDLERS)}"


def _pod(value: Mapping[str, Any]) -> Iterator[str]:
    """What is declared once and used by name."""
    containers = [*value.get("containers", []), *value.get("initContainers", [])]
    for what, names in (
        ("container", [c.get("name") for c in containers]),
        ("volume", [v.get("name") for v in value.get("volumes", [])]),
    ):
        yield from (f"{what} {name} is there {n} times" for name, n in Counter(names).items() if n > 1)
    yield from (
        f"volume {v.get('name')} is of {sorted(set(v) - {'name'})}"
        for v in value.get("volumes", [])
        if len(v) != 2
    )
    for container in containers:
        for what, key in (("env", "name"), ("volumeMounts", "mountPath"), ("ports", "name")):
            names = [one.get(key) for one in container.get(what, [])]
            yield from (f"{what}: {name} is there {n} times" for name, n in Counter(names).items() if n > 1)
        for port in container.get("ports", []):
            if not 0 < port.get("containerPort", 0) < 65536 or len(port.get("name", "")) > 15:
                yield f"{port} is no port"


def _workers(value: Mapping[str, Any]) -> Iterator[str]:
    least, now, most = (value.get(key, 0) for key in ("minReplicas", "replicas", "maxReplicas"))
    if not 0 <= least <= now <= most:
        yield f"{least} <= {now} <= {most} replicas"


CHECKS = {
    "V1ResourceRequirements": _resources,
    "V1VolumeResourceRequirements": _resources,
    "V1ObjectMeta": _labels,
    "V1LabelSelector": _labels,
    "V1Probe": _probe,
    "V1PodSpec": _pod,
    "WorkerGroupSpec": _workers,
}
