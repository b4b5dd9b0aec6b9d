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
BOOK_S = 60.0
"""How often a stage that goes on is booked, so that little is lost where it is killed."""


class StageLog:
    """The file `folder`/pipeline.json: by stage its `inputs` and `outputs` (hashes of manifests and models),
    and `starts`, `seconds` and `node_hours` by kind of node, added up over all starts; of a start that is
    killed its last minute is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    @contextmanager
    def stage(self, name: str, inputs: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """Watch a stage, which puts hashes of what it makes into what is yielded; says what it took. Needs
        Ray."""
        outputs: dict[str, str] = {}
        before = self.read().get(name, {"starts": 0, "seconds": 0.0, "node_hours": {}})
        began = booked = time.monotonic()

        def book() -> None:
            nonlocal booked
            booked = time.monotonic()
            self._set(name, _sum(before, booked - began, watch.node_hours(), dict(inputs), dict(outputs)))

        def sometimes() -> None:
            if time.monotonic() - booked >= BOOK_S:
                with suppress(OSError):  # the next time, or at the end
                    book()

        watch = NodeWatch(seen=sometimes)
        try:
            with watch:
                yield outputs
        except BaseException:
            with suppress(OSError):  # what ended the stage, such as a full disk, is what is to be told
                book()
            raise
        else:
            book()
        finally:
            taken = duration(time.monotonic() - began)
            print(f"{name}: {taken}, node-hours: {told(watch.node_hours())}", flush=True)

    def read(self) -> dict[str, Any]:
        """The records by stage; none before the first."""
        try:
            records: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return records

    def _set(self, name: str, record: dict[str, Any]) -> None:
        write_json(self.path, {**self.read(), name: record})


def _sum(
    before: Mapping[str, Any],
    seconds: float,
    hours: Mapping[str, float],
    inputs: dict[str, str],
    outputs: dict[str, str],
) -> dict[str, Any]:
    """The record of a stage with a further start."""
    if not outputs and before.get("inputs") == inputs:  # it was interrupted: what was made before stands
        outputs = before["outputs"]
    total = dict(before["node_hours"])
    for kind, more in hours.items():
        total[kind] = total.get(kind, 0.0) + more
    return {
        "inputs": inputs,
        "outputs": outputs,
        "starts": before["starts"] + 1,
        "seconds": before["seconds"] + seconds,
        "node_hours": total,
    }


def told(hours: Mapping[str, float]) -> str:
    """Node-hours for people, e.g. `0.021 of head, 1.4 of 8 GPU 96 CPU`."""
    return ", ".join(f"{value:.3g} of {kind}" for kind, value in hours.items())
