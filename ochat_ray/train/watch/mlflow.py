"""Runs in MLflow, by its client, which needs no global state of MLflow's."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from ochat_ray.config import Recipe
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.trackers import Metrics, Sent

EXPERIMENT = "ochat-ray"
MOST_METRICS, MOST_PARAMS, MOST_CHARS = 1000, 100, 6000
"""What MLflow takes in one request, and in one parameter."""
_REFUSED = re.compile(r"[^\w\-. :/]")


class Mlflow:
    """A run of MLflow's for this output; a later command goes on with it."""

    def __init__(self, uri: str, folders: Folders, recipe: Recipe, sent: Sent) -> None:
        self._client = MlflowClient(tracking_uri=uri)
        if sent.run is None:
            sent.run = self._create(folders, recipe)
        else:
            self._client.update_run(sent.run, status="RUNNING")
        self._run = sent.run
        self.where = f"run {self._run} at {uri}"

    def send(self, steps: list[tuple[int, Metrics]]) -> None:
        """Send all metrics of these steps, in as few requests as it takes."""
        now = int(time.time() * 1000)
        metrics = [
            Metric(_REFUSED.sub("_", name), value, now, step)
            for step, values in steps
            for name, value in values.items()
        ]
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run, metrics=metrics[start : start + MOST_METRICS])

    def back(self, step: int) -> bool:  # noqa: ARG002 - MLflow forgets nothing
        """Steps that are computed again come out as they did, so that those there may stay."""
        return False

    def close(self, finished: bool) -> None:
        """Say how it ended; `KILLED` is what MLflow calls a run that somebody stopped."""
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")

    def _create(self, folders: Folders, recipe: Recipe) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run = self._client.create_run(number, run_name=folders.output.name)
        settings = _flat("train", recipe.train.model_dump(mode="json"))
        settings |= {"recipe": recipe.name, "model_type": recipe.model_type, "output": folders.output}
        params = [Param(key, str(value)[:MOST_CHARS]) for key, value in settings.items()]
        for start in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run.info.run_id, params=params[start : start + MOST_PARAMS])
        return str(run.info.run_id)


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        key: found for name, inner in value.items() for key, found in _flat(f"{prefix}.{name}", inner).items()
    }
