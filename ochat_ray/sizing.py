"""What a recipe will ask of a cluster's file: nodes, hours and node-hours by stage, and what has no place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ochat_ray.config import Recipe
from ochat_ray.errors import ConfigError
from ochat_ray.serve.placement import fitting
from ochat_ray.serve.placement import need as replica_need
from ochat_ray.train.placement import need_of

PAGES_PER_CPU_S = 400.0
"""Saved pages that a core prepares in a second, on Ray (BENCHMARKS.md, whole preparations)."""
MB_PER_CPU_S = 22.0
"""The same in megabytes of input: these pages have 54 kB on average."""
DRIVER_S_PER_TASK = 0.008
"""CPU seconds of the driver for a task of Ray Data (ARCHITECTURE.md, how far it reaches)."""


@dataclass(frozen=True)
class NodeType:
    """A kind of node of a cluster's file: its resources by Ray's names, and how many there may be."""

    name: str
    resources: Mapping[str, float]
    most: int


@dataclass(frozen=True)
class Work:
    """What is to be done, and how fast: `pages` are prepared at `pages_per_cpu_s`, `tokens` trained at
    `tokens_per_worker_s`. Hours are unknown where there is no number (0) or no rate."""

    pages: float
    tokens: float
    pages_per_cpu_s: float = PAGES_PER_CPU_S
    tokens_per_worker_s: float | None = None


@dataclass(frozen=True)
class Ask:
    """A stage's nodes: `least` to `most` of the `kinds`, for `hours` (None: unknown, or while it serves)."""

    stage: str
    asks: str
    kinds: tuple[str, ...] = ()
    least: int = 0
    most: int = 0
    hours: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def placed(self) -> bool:
        """Whether the cluster can ever give this."""
        return bool(self.kinds)

    def row(self) -> tuple[str, str, str, str, str]:
        """Stage, what it asks for, nodes, hours, node-hours."""
        number = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        nodes = f"{number} x {' or '.join(self.kinds)}" if self.placed else "never placed"
        if self.hours is None or not self.placed:
            cost = f"{number} an hour" if self.stage == "serve" and self.placed else "unknown"
            return self.stage, self.asks, nodes, "-", cost
        return self.stage, self.asks, nodes, f"{self.hours:.3g}", f"{self.most * self.hours:.3g}"


def plan(recipe: Recipe, types: Iterable[NodeType], work: Work) -> list[Ask]:
    """What each stage will ask for."""
    types = list(types)
    return [_data(recipe, types, work), _train(recipe, types, work), _serve(recipe, types)]


def table(asks: Iterable[Ask]) -> str:
    """The stages as aligned columns."""
    rows = [("stage", "asks for", "nodes", "hours", "node-hours"), *(ask.row() for ask in asks)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _data(recipe: Recipe, types: list[NodeType], work: Work) -> Ask:
    without = [kind for kind in types if not kind.resources.get("GPU")]
    tasks = math.ceil(work.pages * MB_PER_CPU_S / PAGES_PER_CPU_S / recipe.data.task_mb) or math.inf
    placed = _fill(without or types, {"CPU": 1}, tasks)
    asks = "tasks of 1 CPU" if tasks == math.inf else f"{tasks:,} tasks of 1 CPU"
    if not placed.kinds:
        return Ask("data", asks, warnings=(_no_place("data", {"CPU": 1}, types),))
    fed = recipe.data.task_mb / MB_PER_CPU_S / DRIVER_S_PER_TASK
    warnings = []
    if placed.room > fed:
        enough = math.ceil(placed.room * DRIVER_S_PER_TASK * MB_PER_CPU_S)
        warnings.append(
            f"data: one driver feeds about {fed:.0f} cores with tasks of {recipe.data.task_mb} MB, not "
            f"{placed.room}; data.task_mb={enough} would feed all"
        )
    hours = work.pages / work.pages_per_cpu_s / min(placed.room, fed) / 3600 or None
    return Ask("data", asks, placed.kinds, placed.nodes, placed.nodes, hours, tuple(warnings))


def _train(recipe: Recipe, types: list[NodeType], work: Work) -> Ask:
    config, warnings = recipe.train, []
    if config.use_gpu == "auto":
        warnings.append(
            "train.use_gpu is auto: it means CPUs where GPU nodes come on demand; set train.use_gpu=true"
        )
    need = need_of(config, gpu=config.use_gpu is True)
    placed = _fill(types, need.each, need.workers)
    if placed.room < need.least:
        warnings.append(
            f"train: {need} are more than the {placed.room} that fit on {placed}: it will wait for ever; "
            f"raise max_workers, or lower train.num_workers to {placed.room}"
            if placed.kinds
            else _no_place("train", need.each, types)
        )
        return Ask("train", str(need), warnings=tuple(warnings))
    hours = None
    if work.tokens_per_worker_s is None:
        warnings.append(
            "train: hours are unknown; give --train-rate, which `ochat-ray train --dry-run --gpu NAME` tells"
        )
    else:
        workers = min(need.workers, placed.room)
        hours = work.tokens * config.epochs / work.tokens_per_worker_s / workers / 3600 or None
    least = placed.nodes_for(need.least)
    return Ask("train", str(need), placed.kinds, least, placed.nodes, hours, tuple(warnings))


def _serve(recipe: Recipe, types: list[NodeType]) -> Ask:
    config, warnings = recipe.serve, []
    gpus = config.gpus_per_replica
    if gpus == "auto":
        gpus = 0.0
        warnings.append(
            "serve.gpus_per_replica is auto: it means none where GPU nodes come on demand; give a number"
        )
    need = {name: amount for name, amount in replica_need(config, gpus).items() if amount}
    scaling = config.autoscaling
    least, most = (
        (config.replicas, config.replicas)
        if scaling.max_replicas is None
        else (scaling.min_replicas, scaling.max_replicas)
    )
    asks = f"{least} to {most} replicas" if least < most else f"{most} replica(s)"
    asks += f" of {_listed(need)}"
    placed = _fill(types, need, most)
    if not placed.kinds:
        warnings.append(_no_place("serve", need, types))
    elif placed.room < most:
        warnings.append(f"serve: {most} replicas are more than the {placed.room} that fit on {placed}")
    if placed.room < max(least, 1):
        return Ask("serve", asks, warnings=tuple(warnings))
    fewest = placed.nodes_for(least)
    return Ask("serve", asks, placed.kinds, fewest, placed.nodes, None, tuple(warnings))


@dataclass(frozen=True)
class _Placed:
    """So many of what was to be placed have `room`, on these nodes: kind, number, room on each."""

    room: int
    on: tuple[tuple[str, int, int], ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind, _, _ in self.on)

    @property
    def nodes(self) -> int:
        return sum(number for _, number, _ in self.on)

    def nodes_for(self, count: int) -> int:
        """Of these nodes, those that fewer need."""
        nodes = 0
        for _, number, each in self.on:
            taken = min(number, -(-max(count, 0) // each))
            nodes, count = nodes + taken, count - taken * each
        return nodes

    def __str__(self) -> str:
        return " and ".join(f"{number} x {kind}" for kind, number, _ in self.on)


def _fill(types: Iterable[NodeType], need: Mapping[str, float], count: float) -> _Placed:
    """Nodes for `count` times `need` as Ray's autoscaler brings them up: no GPU node for work without GPUs
    while there is another, then the kind whose least used resource is used most, to its last node."""

    def cost(kind: NodeType) -> tuple[bool, float, float]:
        fit = min(fitting([kind.resources], need), count)
        used = [fit * need.get(name, 0.0) / amount for name, amount in kind.resources.items() if amount]
        spare_gpus = kind.resources.get("GPU", 0.0) > 0 and not need.get("GPU")
        return spare_gpus, -min(used), -sum(used) / len(used)

    able = [kind for kind in types if kind.most and fitting([kind.resources], need)]
    room, on = 0.0, []
    for kind in sorted(able, key=cost):
        each = fitting([kind.resources], need)
        if room < count:
            number = int(min(kind.most, -(-(count - room) // each)))
            on.append((kind.name, number, each))
            room += each * number
    return _Placed(int(min(room, count)), tuple(on))


def _no_place(stage: str, need: Mapping[str, float], types: list[NodeType]) -> str:
    have = "; ".join(f"{kind.name}: {_listed(kind.resources)}" for kind in types)
    return f"{stage}: no kind of node has {_listed(need)}, so it will wait for ever (there are {have})"


def _listed(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items() if amount)


def read_types(path: Path) -> list[NodeType]:
    """The kinds of workers in a cluster's file: Ray's own YAML, or KubeRay's RayCluster.

    Raises ConfigError naming file and field.
    """
    try:
        documents = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from error
    for document in documents:
        if isinstance(document, dict):
            if document.get("available_node_types"):
                return _of_ray(path, document)
            spec = document.get("spec") or {}
            spec = spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec
            if spec.get("workerGroupSpecs"):
                return [_of_group(path, group) for group in spec["workerGroupSpecs"]]
    raise ConfigError(
        f"{path}: neither available_node_types nor workerGroupSpecs is in it; give a cluster's file, such as "
        "cluster/aws.yaml or cluster/kuberay/raycluster.yaml"
    )


def _of_ray(path: Path, document: Mapping[str, Any]) -> list[NodeType]:
    types = []
    for name, kind in document["available_node_types"].items():
        if name == document.get("head_node_type"):
            continue
        where = f"{path}: available_node_types.{name}"
        try:
            resources = {key: float(value) for key, value in (kind.get("resources") or {}).items()}
            total = document.get("max_workers", math.inf)
            most = min(kind.get("max_workers", total), total)
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{where}: resources or max_workers cannot be read ({error})") from error
        if most == math.inf:
            raise ConfigError(f"{where}: how many there may be is not said; write e.g. max_workers: 4")
        if "CPU" not in resources:
            raise ConfigError(
                f"{where}.resources names no CPU, and the size of an instance is known to its cloud alone; "
                "write e.g. resources: {CPU: 16}"
            )
        types.append(NodeType(name, resources, int(most)))
    return types


def _of_group(path: Path, group: Mapping[str, Any]) -> NodeType:
    name = group.get("groupName", "?")
    try:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        resources = {"CPU": _quantity(limits["cpu"]), "GPU": _quantity(limits.get("nvidia.com/gpu", 0))}
        own = yaml.safe_load((group.get("rayStartParams") or {}).get("resources", "{}"))
        own = yaml.safe_load(own) if isinstance(own, str) else own
        resources |= {key: float(value) for key, value in own.items()}
        return NodeType(name, resources, int(group["maxReplicas"]))
    except (LookupError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path}: workerGroupSpecs {name}: resources.limits of its first container, its resources of "
            f"Ray's own or maxReplicas cannot be read ({error!r})"
        ) from error


def _quantity(text: Any) -> float:
    """Kubernetes' way to write an amount of CPUs, such as 500m."""
    text = str(text)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
