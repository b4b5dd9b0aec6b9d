"""Checkpoints of weights, AdamW's moments and the place in the plan, written while training goes on.

Any number of workers, by any strategy, goes on from what any other wrote. Ray Train's own checkpoints were
not enough: it registers them when it next looks, and takes the last one for whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

from ochat_ray.errors import CheckpointError, one_line
from ochat_ray.storage import LocalStorage, storage
from ochat_ray.train import snapshot
from ochat_ray.train.snapshot import Cursor, Files
from ochat_ray.train.strategies import Strategy

FETCHES = 8  # files of a checkpoint that are fetched from an object store at a time


class Checkpoints:
    """The checkpoints of a run in a folder or object store. Every worker calls every method alike."""

    def __init__(self, location: str, keep: int) -> None:
        self.storage = storage(location)
        self.keep = keep
        # While one worker of a host fetches a large checkpoint, the others wait.
        self.group = dist.new_group(backend="gloo", timeout=timedelta(hours=4))
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.running: Future[str | None] | None = None

    def save(self, strategy: Strategy, cursor: Cursor) -> str | None:
        """Begin to write a checkpoint, from a copy of the state in the host's memory.

        Waits for the one before, and returns why that could not be written, if so.
        """
        problem = self.wait()
        folder = self._folder(cursor)
        written = dcp.async_save(strategy.state(), checkpoint_id=folder, process_group=self.group)
        self.running = self.pool.submit(self._finish, written, folder, cursor)
        return problem

    def wait(self) -> str | None:
        """Until the last checkpoint is written; why it could not be, if so."""
        problem = self.running.result() if self.running else None
        self.running = None
        return problem

    def resume(self, strategy: Strategy, plan_hash: str, dtype: str) -> tuple[Cursor | None, list[str]]:
        """Load the newest whole checkpoint; its cursor, and what is wrong with newer ones.

        Raises CheckpointError if it is of another plan, or was computed in another dtype.
        """
        problems: list[str] = []
        for name in self._from_first(snapshot.names(self.storage)):
            cursor = self._load(name, strategy, plan_hash, dtype)
            if isinstance(cursor, Cursor):
                return cursor, problems
            problems.append(f"checkpoint {self.storage.location}/{name} is not used: {cursor}")
        return None, problems

    def _load(self, name: str, strategy: Strategy, plan_hash: str, dtype: str) -> Cursor | str:
        """Load a checkpoint, or say what is wrong with it."""
        try:
            cursor, files = snapshot.opened(self.storage, name)
            problem = None
        except FileNotFoundError:
            problem = "it was not finished"
        except (OSError, ValueError) as error:
            problem = f"it cannot be read ({_line(error)})"
        if (found := self._first_of(problem)) is not None:
            return found
        if cursor.plan_hash != plan_hash:
            raise CheckpointError(
                f"{self.storage.location}/{name}: belongs to another packing plan "
                f"({cursor.plan_hash[:12]}, not {plan_hash[:12]}); give another output folder"
            )
        if cursor.dtype != dtype:
            raise CheckpointError(
                f"{self.storage.location}/{name}: was computed in {cursor.dtype}, and the run would go on in "
                f"{dtype}; set train.dtype={cursor.dtype}, or train.use_gpu as it was"
            )
        with self._fetched(name, files) as (folder, mine):
            damage = (snapshot.damage(folder, file, files[file]) for file in mine)
            if (found := self._first_of(next(filter(None, damage), None))) is not None:
                return found
            strategy.load(folder, cursor.updates)
        return cursor

    @property
    def _local(self) -> bool:
        return isinstance(self.storage, LocalStorage)

    def _folder(self, cursor: Cursor) -> Path:
        """Where to write: the checkpoint itself, or a folder of this worker's to send from."""
        if not isinstance(self.storage, LocalStorage):
            return Path(tempfile.mkdtemp(prefix="ochat-checkpoint-"))
        if dist.get_rank() == 0:
            self.storage.remove(cursor.name)  # what an earlier start left that was killed meanwhile
        dist.barrier(self.group)
        return self.storage.root / cursor.name

    def _finish(self, written: Any, folder: Path, cursor: Cursor) -> str | None:
        """In the background: make a checkpoint of what the workers wrote, or say why not."""
        files: Files = {}
        problem = None
        try:
            written.result()
            for path in snapshot.written_by(folder, dist.get_rank()):
                files[path.name] = snapshot.facts(path)
                if not self._local:
                    snapshot.send(path, self.storage, f"{cursor.name}/{path.name}")
        except (CheckpointException, Exception) as error:  # the former, of torch, is no Exception
            problem = _line(error)
        if not self._local:
            shutil.rmtree(folder, ignore_errors=True)
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, (files, problem), group=self.group)
        problem = next((found for _, found in gathered if found), None)
        if dist.get_rank() == 0:
            problem = self._close(cursor, [own for own, _ in gathered], problem)
        return problem and f"step {cursor.step}: the checkpoint could not be written: {problem}"

    def _close(self, cursor: Cursor, files: list[Files], problem: str | None) -> str | None:
        try:
            if problem is not None:
                self.storage.remove(cursor.name)
                return problem
            snapshot.close(
                self.storage, cursor, {name: facts for own in files for name, facts in own.items()}
            )
            snapshot.prune(self.storage, self.keep)
        except OSError as error:
            return _line(error)
        return None

    @contextmanager
    def _fetched(self, name: str, files: Files) -> Iterator[tuple[Path, list[str]]]:
        """A checkpoint as a folder of this host, and the files that this worker is to check."""
        if isinstance(self.storage, LocalStorage):
            yield self.storage.root / name, sorted(files)[dist.get_rank() :: dist.get_world_size()]
            return
        # One worker of each host fetches for all of them.
        first = os.environ["LOCAL_RANK"] == "0"
        key = hashlib.sha256(f"{self.storage.location}/{name}".encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"ochat-checkpoint-{key}"
        try:
            if first:
                folder.mkdir(exist_ok=True)
                with ThreadPoolExecutor(FETCHES) as pool:
                    for file in files:
                        pool.submit(snapshot.fetch, self.storage, f"{name}/{file}", folder / file)
            dist.barrier(self.group)
            yield folder, sorted(files) if first else []
            dist.barrier(self.group)
        finally:
            if first:
                shutil.rmtree(folder, ignore_errors=True)

    def _from_first(self, value: list[str]) -> list[str]:
        """The first worker's value, on every worker."""
        shared = [value]
        dist.broadcast_object_list(shared, 0, group=self.group)
        return shared[0]

    def _first_of(self, problem: str | None) -> str | None:
        """The problem of the first worker, by rank, that has one."""
        gathered: list[str | None] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, problem, group=self.group)
        return next(filter(None, gathered), None)


def _line(error: BaseException) -> str:
    """What is at the bottom of an error, in a line."""
    if isinstance(error, CheckpointException):  # of all ranks that failed
        error = next(iter(error.failures.values()))[0]
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)
