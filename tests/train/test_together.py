"""An error of one worker ends all of them."""

from __future__ import annotations

from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing as mp

from ochat_ray.errors import CheckpointError, OchatError
from ochat_ray.train.together import together


def worker(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=2)
    with together():
        pass
    try:
        with together():
            if rank == 1:
                raise CheckpointError("base: no such model")
        dist.barrier()  # where the others would wait for ever
    except OchatError as error:
        (folder / f"{rank}.txt").write_text(f"{type(error).__name__}: {error}")
    dist.destroy_process_group()


def test_an_error_on_one_worker_is_raised_on_all(tmp_path: Path) -> None:
    mp.spawn(worker, (tmp_path,), nprocs=2)
    told = [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert told == ["CheckpointError: base: no such model"] * 2
