"""Choosing the engine replica for a request, on Ray Serve: the one that knows the prompt's beginning."""

from __future__ import annotations

import random
from typing import Any

from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica

from ochat_ray.serve.affinity import Affinity
from ochat_ray.serve.engine.request import Generation


class PrefixRouter(FIFOMixin, RequestRouter):
    """First the replica that knows most of a prompt, else the less busy of two drawn at random
    (power of two choices: Mitzenmacher, 2001).

    In order of arrival: without it Serve tells requests apart by an id that all calls of one HTTP request
    share, and all but the first would wait for ever.
    """

    def initialize_state(self, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by Serve for each handle."""
        self._affinity: Affinity[ReplicaID] = Affinity()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Candidates in ranks; of a rank Serve takes the one with the shortest queue that has room."""
        if not candidate_replicas:
            return []
        if pending_request is not None:  # else Serve asks again at once, for ever, while all are busy
            pending_request.routing_context.should_backoff = True
        drawn = random.sample(candidate_replicas, min(2, len(candidate_replicas)))
        prompt_ids = _prompt_ids(pending_request)
        if prompt_ids is None or len(candidate_replicas) == 1:
            return [drawn]
        by_id = {replica.replica_id: replica for replica in candidate_replicas}
        loads = {replica_id: self.replica_queue_len_cache.get(replica_id) or 0 for replica_id in by_id}
        best = self._affinity.best(prompt_ids, loads)
        return [drawn] if best is None else [[by_id[best]], drawn]

    def on_request_routed(
        self,
        pending_request: PendingRequest,
        replica_id: ReplicaID,
        result: Any,  # noqa: ARG002
    ) -> None:
        """Remember where a prompt went."""
        prompt_ids = _prompt_ids(pending_request)
        if prompt_ids is not None:
            self._affinity.sent(prompt_ids, replica_id)


def _prompt_ids(pending: PendingRequest | None) -> list[int] | None:
    first = pending.args[0] if pending is not None and pending.args else None
    return first.prompt_ids if isinstance(first, Generation) else None
