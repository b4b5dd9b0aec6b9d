"""Event files for TensorBoard.

By the tensorboard package's own records: torch's writer would import torch into the driver, and
tensorboard's needs TensorFlow's file system, or its stub.
"""

from __future__ import annotations

import os
import socket
import time

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.trackers import Metrics, Sent


class TensorBoard:
    """A file a command. An event that a session starts at a step makes TensorBoard forget what came after."""

    def __init__(self, folders: Folders, sent: Sent) -> None:
        folder = folders.tensorboard
        self.where = f"tensorboard --logdir {folder}"
        if not any(folder.glob("events.*")):
            sent.step = 0  # taken away
        folder.mkdir(exist_ok=True)
        path = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._file = RecordWriter(path.open("ab"))
        self._write(Event(file_version="brain.Event:2"))
        self.back(sent.step)

    def send(self, steps: list[tuple[int, Metrics]]) -> None:
        """Write them."""
        for step, metrics in steps:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
            self._write(Event(step=step, summary=Summary(value=values)))
        self._file.flush()

    def back(self, step: int) -> bool:
        """Have the steps after this one forgotten."""
        self._write(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))
        self._file.flush()
        return True

    def close(self, finished: bool) -> None:  # noqa: ARG002 - TensorBoard knows no ends
        """Close the file."""
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._file.write(event.SerializeToString())
