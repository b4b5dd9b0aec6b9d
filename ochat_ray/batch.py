"""Batch inference: many requests to an exported model, answered on the Ray cluster without a server.

Files are those of OpenAI's batch API: a JSON object a line, `custom_id` and `body`, a chat completion's; the
answers come as `custom_id`, `response` and `error`, in whatever order they get ready.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ochat_ray.config import ServeConfig
from ochat_ray.errors import ConfigError, DataError
from ochat_ray.json_lines import json_line, read_json_lines
from ochat_ray.progress import Progress, say
from ochat_ray.runtime import fixed
from ochat_ray.storage import growing

ROUNDS = 4
"""Rows of a task, in requests that run at a time: what a lost worker does again at most."""


class Answered(NamedTuple):
    """A request's place in the list, its chat completion, or why there is none."""

    place: int
    response: dict[str, Any] | None
    error: str


class Done(NamedTuple):
    """Requests in all, of them answered now, and of these refused."""

    requests: int
    answered: int
    refused: int


def infer(folder: Path, config: ServeConfig, requests: Sequence[Mapping[str, Any]]) -> Iterator[Answered]:
    """Answer bodies of chat completions, as they get ready. Needs Ray.

    `config.replicas` engines, or up to `config.autoscaling.max_replicas`, each on `config.gpus_per_replica`
    GPUs. A lost engine's requests are answered by another. Raises CheckpointError for a folder that cannot be
    served.
    """
    import ray

    from ochat_ray.serve.app import gpus_of
    from ochat_ray.serve.offline import BatchWorker

    gpus, have = gpus_of(config), ray.cluster_resources().get("GPU", 0)
    if gpus and fixed() and not have:
        raise ConfigError(
            f"serve.gpus_per_replica = {gpus:g}: this machine has no GPU, and no engine could ever start; "
            "set serve.gpus_per_replica=0"
        )
    if gpus > have:
        say(f"batch: waiting for {gpus:g} GPU an engine; on CPUs it is serve.gpus_per_replica=0")
    running = config.engine.max_running
    rows = [{"place": place, "request": json.dumps(request)} for place, request in enumerate(requests)]
    most = config.autoscaling.max_replicas or config.replicas
    blocks = min(len(rows), max(most, -(-len(rows) // (ROUNDS * running))))
    answered = ray.data.from_items(rows, override_num_blocks=max(1, blocks)).map_batches(
        BatchWorker,
        fn_constructor_args=(str(folder.resolve()), config, gpus > 0),
        batch_size=max(1, running // 2),  # several batches of a block run at a time
        compute=ray.data.ActorPoolStrategy(min_size=min(config.replicas, most), max_size=most),
        num_cpus=config.engine.threads,
        num_gpus=gpus,
    )
    for row in answered.iter_rows():
        response = json.loads(row["response"]) if row["response"] else None
        yield Answered(int(row["place"]), response, row["error"])


def infer_file(folder: Path, config: ServeConfig, source: Path, output: Path) -> Done:
    """Answer the requests of a file into another one, all but those that are answered there. Needs Ray.

    Requests are held in memory. What was refused is told in its line and not asked again. Raises DataError
    for a line that is no request, with file and line, and what `infer` raises.
    """
    requests = read_requests(source)
    if output.exists() and output.samefile(source):
        raise ConfigError(f"{output}: the answers would go into the file of requests; name another")
    with growing(output) as file:
        known = {str(row["custom_id"]) for _, row in read_json_lines(output)}
        waiting = [(name, body) for name, body in requests.items() if name not in known]
        refused, start = 0, len(requests) - len(waiting)
        with Progress("answer", total=len(requests), unit="requests", start=start) as told:
            for answered in infer(folder, config, [body for _, body in waiting]):
                refused += answered.response is None
                file.write(json_line(_line(waiting[answered.place][0], answered)))
                file.flush()
                told.update(1, f"{refused:,} refused" if refused else "")
    return Done(len(requests), len(waiting), refused)


def read_requests(source: Path) -> dict[str, dict[str, Any]]:
    """Bodies by `custom_id`. Raises DataError with file, line, field and what is expected."""
    found: dict[str, dict[str, Any]] = {}
    for number, row in read_json_lines(source):
        where = f"{source}:{number}"
        name, body = row.get("custom_id"), row.get("body")
        if not isinstance(name, str) or not name:
            raise DataError(f"{where}: custom_id {name!r}: expected a text that names the request")
        if name in found:
            raise DataError(f"{where}: custom_id {name!r} is there twice; every request needs its own")
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            raise DataError(f"{where}: body: expected a chat completion's, with a list of messages")
        if body.get("stream"):
            raise DataError(f"{where}: body: stream: answers of a batch come whole; leave it out")
        found[name] = {"model": "", **body}  # there is one only, however it is called
    if not found:
        raise DataError(f"{source}: no request in it; expected a JSON object a line")
    return found


def _line(name: str, answered: Answered) -> dict[str, Any]:
    if answered.response is None:
        error = {"code": "invalid_request_error", "message": answered.error}
        return {"custom_id": name, "response": None, "error": error}
    return {"custom_id": name, "response": {"status_code": 200, "body": answered.response}, "error": None}
