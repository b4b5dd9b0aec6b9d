"""What lies where in a training output."""

from __future__ import annotations

import json
from pathlib import Path

from ochat_ray.config import CheckpointConfig
from ochat_ray.train import log

RUN = "run"  # in run.json: the run's name among others


class Folders:
    """Paths below a training output, which lies on storage that every worker sees."""

    def __init__(self, output: str | Path) -> None:
        self.output = Path(output)
        self.identity = self.output / "run.json"
        self.lock = self.output / ".lock"
        self.tokens = self.output / "tokens"
        self.losses = self.output / log.NAME
        self.speed = self.output / "speed.jsonl"
        self.attempts = self.output / "attempts.jsonl"
        self.notes = self.output / "notes.jsonl"
        self.stop = self.output / "stop"
        self.checkpoints = self.output / "checkpoints"
        self.run = self.output / "run"
        self.exporting = self.output / "exporting"
        self.model = self.output / "model"
        self.tensorboard = self.output / "tensorboard"
        self.trackers = self.output / "trackers"
        self.page = self.output / "training.html"

    def checkpoints_of(self, config: CheckpointConfig) -> str:
        """Where the run's checkpoints are: elsewhere in a folder of its own."""
        if config.folder is None:
            return str(self.checkpoints)
        run = json.loads(self.identity.read_text(encoding="utf-8"))[RUN]
        return f"{config.folder.rstrip('/')}/{run}"

    def epoch(self, number: int) -> Path:
        """The model as it was at the end of an epoch, from 1."""
        return self.output / "epochs" / str(number)
