"""What a recipe will ask of a cluster's file, against what can be reckoned by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ochat_ray.cli import main
from ochat_ray.config import load_recipe
from ochat_ray.errors import ConfigError
from ochat_ray.sizing import NodeType, Work, plan, read_types

CPU = NodeType("cpu", {"CPU": 16.0}, 32)
TRAIN = NodeType("train", {"CPU": 96.0, "GPU": 8.0, "ochat_train": 1.0}, 2)
SERVE = NodeType("serve", {"CPU": 16.0, "GPU": 1.0, "ochat_serve": 1.0}, 4)
TYPES = [CPU, TRAIN, SERVE]
GPUS = ["train.use_gpu=true", "train.num_workers=16", "serve.gpus_per_replica=1", "train.epochs=3"]
WORK = Work(pages=1.8432e6, tokens=1e9, pages_per_cpu_s=1.0, tokens_per_worker_s=1000.0)


def test_stages_are_reckoned() -> None:
    data, train, serve = plan(load_recipe("openchat", [*GPUS, "data.task_mb=100"]), TYPES, WORK)
    assert (data.kinds, data.most, data.hours) == (("cpu",), 32, pytest.approx(1.0))
    assert (train.kinds, train.least, train.most) == (("train",), 2, 2)
    assert train.hours == pytest.approx(3e9 / 16e3 / 3600)
    assert (serve.kinds, serve.least, serve.most, serve.hours) == (("serve",), 1, 1, None)
    assert not (*data.warnings, *train.warnings, *serve.warnings)
    assert data.row()[3:] == ("1", "32")


def test_one_driver_feeds_so_many_cores() -> None:
    many = [NodeType("cpu", {"CPU": 16.0}, 1000), *TYPES[1:]]
    work = Work(pages=1e9, tokens=1.0)
    (few, *_), (all_, *_) = (
        plan(load_recipe("openchat", [*GPUS, f"data.task_mb={size}"]), many, work) for size in (32, 2816)
    )
    assert "data.task_mb=2816 would feed all" in few.warnings[0]
    assert not all_.warnings
    assert few.hours is not None and all_.hours is not None
    assert few.hours / all_.hours == pytest.approx(2816 / 32)


def test_kinds_that_are_alike_stand_side_by_side() -> None:
    spot = NodeType("spot", TRAIN.resources, 2)
    _, train, _ = plan(load_recipe("openchat", [*GPUS, "train.num_workers=32"]), [CPU, spot, TRAIN], WORK)
    assert (train.kinds, train.least, train.most) == (("spot", "train"), 4, 4)
    assert train.row()[2] == "4 x spot or train"


def test_few_pages_ask_for_few_nodes() -> None:
    data, *_ = plan(load_recipe("openchat", GPUS), TYPES, Work(pages=1000, tokens=1))
    assert (data.kinds, data.most, data.asks) == (("cpu",), 1, "2 tasks of 1 CPU")
    assert not data.warnings


def test_elastic_training_and_autoscaled_serving_are_ranges() -> None:
    more = ["train.min_workers=4", "serve.autoscaling.min_replicas=0", "serve.autoscaling.max_replicas=3"]
    _, train, serve = plan(load_recipe("openchat", [*GPUS, *more]), TYPES, WORK)
    assert (train.least, train.most) == (1, 2)
    assert serve.row()[2] == "0 to 3 x serve"


def test_pools_decide() -> None:
    pools = ["train.num_workers=1", "train.pool=ochat_serve", "serve.pool=ochat_train"]
    _, train, serve = plan(load_recipe("openchat", [*GPUS, *pools]), TYPES, WORK)
    assert (train.kinds, serve.kinds) == (("serve",), ("train",))


def test_work_without_gpus_goes_to_gpu_nodes_only_where_there_are_no_others() -> None:
    recipe = load_recipe("tiny-cpu")
    assert [ask.kinds for ask in plan(recipe, TYPES, WORK)] == [("cpu",)] * 3
    assert [ask.kinds for ask in plan(recipe, [SERVE], WORK)] == [("serve",)] * 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            ["train.num_workers=21"],
            "21 workers of 1 CPU, 1 GPU are more than the 20 that fit on 2 x train and 4 x serve.*to 20",
        ),
        (["train.pool=nowhere"], r"train: no kind of node has 1 CPU, 1 GPU, 0.001 nowhere.*cpu: 16 CPU"),
        (["serve.engine.threads=500"], "serve: no kind of node has 500 CPU"),
        (["serve.replicas=30"], "30 replicas are more than the 20 that fit on 2 x train and 4 x serve"),
        (
            ["serve.pool=ochat_serve", "serve.replicas=5"],
            "5 replicas are more than the 4 that fit on 4 x serve",
        ),
    ],
)
def test_what_is_never_placed_is_told(changes: list[str], told: str) -> None:
    asks = plan(load_recipe("openchat", [*GPUS, *changes]), TYPES, WORK)
    assert [ask for ask in asks if not ask.placed]
    assert re.search(told, " ".join(line for ask in asks for line in ask.warnings))


def test_what_depends_on_the_cluster_is_told() -> None:
    auto = ["train.use_gpu=auto", "serve.gpus_per_replica=auto"]
    _, train, serve = plan(load_recipe("openchat", auto), TYPES, Work(1, 1))
    assert "train.use_gpu is auto" in train.warnings[0] and "--train-rate" in train.warnings[1]
    assert "gpus_per_replica is auto" in serve.warnings[0]
    assert train.hours is None and train.row()[3] == "-"


RAY = """
max_workers: 9
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}}
  a: {resources: {CPU: 4, GPU: 1}, max_workers: 2}
  b: {resources: {CPU: 2}}
"""
KUBE = """
kind: Secret
---
apiVersion: ray.io/v1
kind: RayService
spec:
  rayClusterConfig:
    workerGroupSpecs:
      - groupName: gpu
        maxReplicas: 3
        rayStartParams: {resources: '"{\\"ochat_serve\\": 1}"'}
        template:
          spec:
            containers:
              - resources: {limits: {cpu: 1500m, nvidia.com/gpu: 1}}
"""


def test_both_kinds_of_files_are_read(tmp_path: Path) -> None:
    ray, kube = tmp_path / "ray.yaml", tmp_path / "kube.yaml"
    ray.write_text(RAY)
    kube.write_text(KUBE)
    assert read_types(ray) == [NodeType("a", {"CPU": 4, "GPU": 1}, 2), NodeType("b", {"CPU": 2}, 9)]
    assert read_types(kube) == [NodeType("gpu", {"CPU": 1.5, "GPU": 1, "ochat_serve": 1}, 3)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "cannot be read as YAML"),
        (RAY.replace("max_workers: 9", ""), r"available_node_types\.b: how many .*max_workers: 4"),
        (RAY.replace("CPU: 4", "CPU: many"), r"available_node_types\.a: resources"),
        ("a: 1", "neither available_node_types nor workerGroupSpecs"),
        (RAY.replace("{CPU: 2}", "{}"), r"available_node_types\.b\.resources names no CPU"),
        (KUBE.replace("maxReplicas", "maxReplica"), "workerGroupSpecs gpu: .*maxReplicas"),
        (KUBE.replace("1500m", "many"), "workerGroupSpecs gpu"),
    ],
)
def test_files_that_say_too_little_are_named(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"cluster\.yaml: .*{told}"):
        read_types(file)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(RAY)
    words = ["plan", "openchat", "--cluster", str(file), "--tokens", "1e6", "--train-rate", "10"]
    assert main([*words, "train.num_workers=2"]) == 0
    assert "2 x a" in capsys.readouterr().out
    assert main([*words, "train.num_workers=3"]) == 1
    out = capsys.readouterr()
    assert "never placed" in out.out and "warning: train: 3 workers" in out.err
