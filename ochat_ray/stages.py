"""What the stages of a pipeline were made from, made, and cost, over all starts of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ochat_ray.manifest import write_json
from ochat_ray.nodes import NodeWatch
from ochat_ray.progress import duration

NAME = "pipeline.json"


class StageLog:
    """The file `folder`/pipeline.json: by stage its `inputs` and `outputs` (hashes of manifests and models),
    and `starts`, `seconds` and `node_hours` by kind of node, added up over all starts that were not killed.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    @contextmanager
    def stage(self, name: str, inputs: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """Watch a stage, which puts hashes of what it makes into what is yielded; says what it took. Needs
        Ray."""
        outputs: dict[str, str] = {}
        began = time.monotonic()
        watch = NodeWatch()

        def book() -> None:
            seconds, hours = time.monotonic() - began, watch.node_hours()
            self._add(name, seconds, hours, dict(inputs), outputs)
            print(f"{name}: {duration(seconds)}, node-hours: {told(hours)}", flush=True)

        try:
            with watch:
                yield outputs
        except BaseException:
            with suppress(OSError):  # what ended the stage, such as a full disk, is what is to be told
                book()
            raise
        book()

    def read(self) -> dict[str, Any]:
        """The records by stage; none before the first."""
        try:
            records: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return records

    def _add(
        self,
        name: str,
        seconds: float,
        hours: Mapping[str, float],
        inputs: dict[str, str],
        outputs: dict[str, str],
    ) -> None:
        records = self.read()
        before = records.get(name, {"starts": 0, "seconds": 0.0, "node_hours": {}})
        if not outputs and before.get("inputs") == inputs:  # it was interrupted: what was made before stands
            outputs = before["outputs"]
        total = dict(before["node_hours"])
        for kind, more in hours.items():
            total[kind] = total.get(kind, 0.0) + more
        records[name] = {
            "inputs": inputs,
            "outputs": outputs,
            "starts": before["starts"] + 1,
            "seconds": before["seconds"] + seconds,
            "node_hours": total,
        }
        write_json(self.path, records)


def told(hours: Mapping[str, float]) -> str:
    """Node-hours for people, e.g. `0.021 of head, 1.4 of 8 GPU 96 CPU`."""
    return ", ".join(f"{value:.3g} of {kind}" for kind, value in hours.items())
