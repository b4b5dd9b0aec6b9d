"""An elastic run on a cluster that gets a node and loses it: `-m tests.train.elastic DATA BASE OUT RECIPE`.

A program of its own, because Ray's cluster of several nodes on one machine wants a process to itself.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from ochat_ray.config import Recipe
from ochat_ray.train import run
from tests.train.runs import attempts, last_step
from tests.waiting import wait_for

PATIENCE_S = 240


def main(data: str, base: str, out: str, recipe: str) -> None:
    output = Path(out)
    run.RESIZE_S = 5.0
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(cluster.address, log_to_driver=False)
    ended = threading.Event()

    def train() -> None:
        try:
            run.train(Path(data), Path(base), output, Recipe.model_validate_json(recipe))
        finally:
            ended.set()

    threading.Thread(target=train, daemon=True).start()
    wait_for(lambda: last_step(output), what="first step", seconds=PATIENCE_S)
    node = cluster.add_node(num_cpus=1)
    wait_for(lambda: len(attempts(output)) == 2, what="start with two workers", seconds=PATIENCE_S)
    begun = last_step(output)
    wait_for(lambda: last_step(output) > begun + 10, what="steps of two workers", seconds=PATIENCE_S)
    cluster.remove_node(node, allow_graceful=False)
    assert ended.wait(PATIENCE_S)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
