"""Which replica knows the beginning of a prompt: told by what was sent where before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from ochat_ray.serve.engine.prefixes import hashes

BLOCKS = 64  # of a prompt's beginning that are looked at
KEPT = 100_000  # blocks that are remembered, those used last
SLACK = 4  # requests that the replica which knows a prompt may have more than the least busy one
R = TypeVar("R")


class Affinity(Generic[R]):
    """A memory of prompts by replica. Holds no tokens, only hashes."""

    def __init__(self) -> None:
        self._replicas: OrderedDict[int, R] = OrderedDict()

    def sent(self, prompt_ids: Sequence[int], replica: R) -> None:
        """A prompt went to a replica, which knows it from now on."""
        for digest in islice(hashes(prompt_ids), BLOCKS):
            self._replicas[digest] = replica
            self._replicas.move_to_end(digest)
        while len(self._replicas) > KEPT:
            self._replicas.popitem(last=False)

    def best(self, prompt_ids: Sequence[int], loads: Mapping[R, int]) -> R | None:
        """The replica that knows most of a prompt, unless it has too much to do; `loads` in requests."""
        found = None
        for digest in islice(hashes(prompt_ids), BLOCKS):
            if digest not in self._replicas:
                break
            found = self._replicas[digest]
        if found is None or found not in loads or loads[found] > min(loads.values()) + SLACK:
            return None
        return found
