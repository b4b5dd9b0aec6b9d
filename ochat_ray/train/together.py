"""Errors that only some workers meet, told to all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from ochat_ray.errors import OchatError


@contextmanager
def together() -> Iterator[None]:
    """What a user must mend on one worker ends the block on all: none waits for others that have gone.

    Every worker must run the block, and raise such an error only where it has no collective operation
    of the block left. Raises the error of the first worker, by rank, that met one.
    """
    error: OchatError | None = None
    try:
        yield
    except OchatError as raised:
        error = raised
    errors: list[OchatError | None] = [None] * dist.get_world_size()
    dist.all_gather_object(errors, error)
    for found in errors:
        if found is not None:
            raise found
