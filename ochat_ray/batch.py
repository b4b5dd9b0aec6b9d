"""Batch inference: many requests to an exported model, answered on the Ray cluster without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ochat_ray.config import ServeConfig

ROUNDS = 4
"""Rows of a task, in requests that run at a time: what a lost worker does again at most."""


class Answered(NamedTuple):
    """A request's place in the list, its chat completion, or why there is none."""

    place: int
    response: dict[str, Any] | None
    error: str


def infer(folder: Path, config: ServeConfig, requests: Sequence[Mapping[str, Any]]) -> Iterator[Answered]:
    """Answer bodies of chat completions, as they get ready. Needs Ray.

    As many engines as the cluster has room for, each on `config.gpus_per_replica` GPUs where there are any,
    at most `config.replicas` or `config.autoscaling.max_replicas` of them. Raises CheckpointError for a
    folder that cannot be served.
    """
    import ray

    from ochat_ray.serve.app import gpus_of
    from ochat_ray.serve.offline import BatchWorker

    gpus = gpus_of(config)
    running = config.engine.max_running
    rows = [{"place": place, "request": json.dumps(request)} for place, request in enumerate(requests)]
    blocks = max(1, -(-len(rows) // (ROUNDS * running)))
    most = config.autoscaling.max_replicas or config.replicas
    answered = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        BatchWorker,
        fn_constructor_args=(str(folder.resolve()), config, gpus > 0),
        batch_size=max(1, running // 2),  # several batches of a block run at a time
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(blocks, most)),
        num_cpus=config.engine.threads,
        num_gpus=gpus,
    )
    for row in answered.iter_rows():
        response = json.loads(row["response"]) if row["response"] else None
        yield Answered(int(row["place"]), response, row["error"])
