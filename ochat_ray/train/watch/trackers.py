"""Sends steps to TensorBoard, MLflow and Weights & Biases, each in a thread of its own.

So one that is slow, away or broken does not hold the run up. What a tracker has is noted in the output: the
next command on it sends the rest, and to a tracker that is new, all of the run.
"""

from __future__ import annotations

import importlib.util
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from ochat_ray.config import Recipe
from ochat_ray.config.train import TrackConfig
from ochat_ray.errors import ConfigError
from ochat_ray.manifest import write_json
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.steps import News, Record

NAMES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "Weights & Biases"}
CLOSE_S = 30.0
"""Seconds that trackers get for the rest, at the end."""

Metrics = dict[str, float]


class Tracker(Protocol):
    """Where somebody looks at a run. `where` says how."""

    where: str

    def send(self, steps: list[tuple[int, Metrics]]) -> None:
        """Take steps, in order."""

    def back(self, step: int) -> bool:
        """Forget the steps after this one; False where that cannot be: those are not sent again."""

    def close(self, finished: bool) -> None:
        """The run ended, or may go on some day."""


class Sent:
    """What a tracker has: `run`, its own id of the run, and the last `step`. One elsewhere has nothing."""

    def __init__(self, folders: Folders, name: str, target: str) -> None:
        self._path, self._target = folders.trackers / f"{name}.json", target
        self.run: str | None = None
        self.step = 0
        if self._path.exists():
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if found["target"] == target:
                self.run, self.step = found["run"], found["step"]

    def save(self) -> None:
        """Note it in the output."""
        write_json(self._path, {"target": self._target, "run": self.run, "step": self.step})


def check(track: TrackConfig) -> None:
    """Raise ConfigError if a tracker that was asked for is not installed."""
    for name, wanted in (("mlflow", track.mlflow), ("wandb", track.wandb)):
        if wanted is not None and not _installed(name):
            raise ConfigError(
                f"train.track.{name} = {wanted}: {NAMES[name]} is not installed; "
                f'`pip install "ochat-ray[{name}]"`, or set train.track.{name}=null'
            )


class Senders:
    """The trackers that a recipe asks for."""

    def __init__(self, folders: Folders, recipe: Recipe) -> None:
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        track = recipe.train.track
        targets = {"mlflow": track.mlflow, "wandb": track.wandb}
        if track.tensorboard:
            if _installed("tensorboard"):
                targets["tensorboard"] = str(folders.tensorboard)
            else:
                self._said.put("TensorBoard is not installed, so no event files are written")
        self._senders = [
            _Sender(folders, recipe, name, target, self._said.put)
            for name, target in targets.items()
            if target is not None
        ]

    def send(self, news: News) -> None:
        """Hand over what came."""
        if news.whole or news.back_to is not None:
            for sender in self._senders:
                sender.put(news)

    def said(self) -> Iterator[str]:
        """Lines for the user, since the last call."""
        while not self._said.empty():
            yield self._said.get()

    def close(self, *, finished: bool) -> Iterator[str]:
        """End the trackers. Yields lines for the user."""
        for sender in self._senders:
            sender.close(finished)
        deadline = time.monotonic() + CLOSE_S
        for sender in self._senders:
            sender.join(max(0.0, deadline - time.monotonic()))
            if sender.is_alive():
                yield f"{sender.name} gave no answer for {CLOSE_S:g} s, and lacks steps"
        yield from self.said()


class _Sender(threading.Thread):
    """One tracker. Its first error is told, and is its end."""

    def __init__(
        self, folders: Folders, recipe: Recipe, name: str, target: str, say: Callable[[str], None]
    ) -> None:
        super().__init__(name=NAMES[name], daemon=True)
        self._folders, self._recipe = folders, recipe
        self._key, self._target, self._say = name, target, say
        self._news: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self._finished = False
        self.start()

    def put(self, news: News) -> None:
        """Steps to send, some time."""
        if self.is_alive():
            self._news.put(news)

    def close(self, finished: bool) -> None:
        """No more will come."""
        self._finished = finished
        self._news.put(None)

    def run(self) -> None:
        """Open, send, close."""
        try:
            sent = Sent(self._folders, self._key, self._target)
            tracker = _open(self._key, self._target, self._folders, self._recipe, sent)
            sent.save()
            self._say(f"{self.name}: {tracker.where}")
            while (news := self._news.get()) is not None:
                _pass_on(news, tracker, sent)
            tracker.close(self._finished)
        except Exception as error:
            line = next(iter(str(error).splitlines()), "") or type(error).__name__
            self._say(f"{self.name} gets no more of this run: {line}")


def _pass_on(news: News, tracker: Tracker, sent: Sent) -> None:
    if news.back_to is not None and news.back_to < sent.step and tracker.back(news.back_to):
        sent.step = news.back_to
    steps = [(record["step"], metrics(record)) for record in news.whole if record["step"] > sent.step]
    if steps:
        tracker.send(steps)
        sent.step = steps[-1][0]
    sent.save()


def metrics(record: Record) -> Metrics:
    """What trackers get of a step, by the names that they show."""
    found = {
        "train/loss": record.get("loss"),
        "train/learning_rate": record.get("learning_rate"),
        "train/grad_norm": record.get("grad_norm"),
        "train/epoch": record.get("epoch"),
        "train/skipped": 1 if "skipped" in record else None,
        "eval/loss": record.get("eval_loss"),
        "speed/seconds": record.get("seconds"),
        "speed/tokens_per_s": record.get("tokens_per_s"),
        "speed/packing": record.get("packing"),
        "speed/memory_gb": record.get("memory_gb"),
        "speed/mfu": record.get("mfu"),
    }
    found |= {f"eval/class/{name}": loss for name, loss in record.get("eval_losses", {}).items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _open(name: str, target: str, folders: Folders, recipe: Recipe, sent: Sent) -> Tracker:
    """Their packages take a second and more to import, so each is imported in the thread that wants it."""
    if name == "mlflow":
        from ochat_ray.train.watch.mlflow import Mlflow

        return Mlflow(target, folders, recipe, sent)
    if name == "wandb":
        from ochat_ray.train.watch.wandb import Wandb

        return Wandb(target, folders, recipe, sent)
    from ochat_ray.train.watch.tensorboard import TensorBoard

    return TensorBoard(folders, sent)
