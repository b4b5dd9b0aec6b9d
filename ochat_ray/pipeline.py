"""Prepare, train, evaluate and serve in one. Finished stages are known by their output."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ochat_ray.config import Recipe, ServeConfig
from ochat_ray.exported import weights_mark
from ochat_ray.job import tell_job
from ochat_ray.manifest import digest, manifest_hash
from ochat_ray.progress import say
from ochat_ray.runtime import require_free_port
from ochat_ray.stages import StageLog

if TYPE_CHECKING:
    from ochat_ray.data.pipeline import Plan


def pipeline(
    planned: Plan,
    output: Path,
    base: Path,
    recipe: Recipe,
    *,
    wait: bool,
) -> None:
    """From saved chats to a served model: OUTPUT/data as planned, OUTPUT/train, then the endpoint. Needs Ray.

    Where the recipe names judges, every export of the training is evaluated in between, OUTPUT/eval, and the
    best is served.
    What each stage was made from, made and cost in node-hours is said and kept in OUTPUT/pipeline.json.
    With `wait` the endpoint stays up until the program is interrupted, else it is left to the cluster.
    Raises what each stage raises, DataError where no conversation is kept, and ConfigError at once for a port
    that is busy on this machine or an evaluation that does not hold together.
    """
    if wait:  # else the endpoint is the cluster's, and may be up already
        require_free_port(recipe.serve.host, recipe.serve.port, option="serve.port=N")
    from ochat_ray.data.outcome import require_kept
    from ochat_ray.data.pipeline import carry_out
    from ochat_ray.evaluation import best_export, exports_of, exports_plan
    from ochat_ray.train.run import train

    exports = exports_of(output / "train", recipe)
    judged = exports_plan(output / "eval", exports, recipe) if recipe.eval.judges else None
    log = StageLog(output)
    with log.stage("data", {"settings": digest(planned.facts)}) as made:
        manifest = carry_out(planned)
        tell_job(counts=manifest["counts"])
        require_kept(manifest["counts"], str(output / "data"))
        made["manifest"] = data = manifest_hash(manifest)
    with log.stage("train", {"data": data, "base": str(base)}) as made:
        model = train(output / "data", base, output / "train", recipe).model
        made["model"] = trained = weights_mark(model)
    tell_job(result=str(output))
    if judged is not None:
        with log.stage("eval", {"model": trained}) as made:
            model = best_export(judged, exports, recipe.serve)
            made["model"] = weights_mark(model)
        print(f"best by {judged.figure}: {model}", flush=True)
    serve(model, recipe.serve, wait=wait)


def serve(model: Path, config: ServeConfig, *, also: Mapping[str, Path] | None = None, wait: bool) -> None:
    """Deploy an exported model, and others by name; with `wait`, keep them up until the program is
    interrupted."""
    from ochat_ray.serve.app import deploy, shutdown

    say(f"loading {model}")
    url = deploy(model, config, also)
    tell_job(endpoint=url)
    page = url.removesuffix("/v1") + "/chat"
    where = f", or in a browser at {page}" if config.chat_page.enabled else ""
    print(f"serving {model} at {url}; talk to it with `ochat-ray chat --url {url}`{where}", flush=True)
    if not wait:
        return
    try:
        wait_for_interrupt()
    finally:
        shutdown()


def wait_for_interrupt() -> None:
    """Return on Ctrl-C."""
    print("Ctrl-C stops it", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print("stopping", flush=True)
