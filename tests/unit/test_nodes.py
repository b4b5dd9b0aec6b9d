"""Node-hours of known samples."""

from __future__ import annotations

import pytest

from ochat_ray.nodes import Sample, counted, node_hours


def node(alive: bool = True, **resources: float) -> dict[str, object]:
    return {"Alive": alive, "Resources": resources}


def test_nodes_are_counted_by_kind() -> None:
    head = {"Alive": True, "Resources": {"node:__internal_head__": 1.0, "CPU": 4.0}}
    nodes = [head, node(CPU=16), node(CPU=16), node(GPU=8, CPU=96), node(alive=False, CPU=16), node(memory=1)]
    assert counted(nodes) == {"head": 1, "16 CPU": 2, "8 GPU 96 CPU": 1, "": 1}


def test_each_sample_holds_until_the_next() -> None:
    samples = [Sample(0, {"head": 1}), Sample(1800, {"head": 1, "16 CPU": 4}), Sample(3600, {"head": 1})]
    assert node_hours(samples) == pytest.approx({"16 CPU": 2.0, "head": 1.0})
    assert node_hours(samples[:1]) == {}
