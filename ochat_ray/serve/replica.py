"""One engine replica: the model of a folder on one device. Token ids in, token ids out."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import torch

from ochat_ray.config import ServeConfig
from ochat_ray.exported import load_exported
from ochat_ray.serve.engine.engine import Engine
from ochat_ray.serve.engine.request import Chunk, EngineStats, Generation
from ochat_ray.serve.engine.runner import Runner
from ochat_ray.serve.engine.stream import AsyncEngine
from ochat_ray.serve.limits import limits_of


class EngineReplica:
    """Loads the model, checks it against its own attention, and starts the loop.

    `gpu`: whether this replica was given a GPU. Raises CheckpointError for a folder that cannot be served.
    """

    def __init__(self, model_dir: str, config: ServeConfig, gpu: bool) -> None:
        torch.set_num_threads(config.engine.threads)
        exported = load_exported(model_dir)
        limits = limits_of(exported, config)
        runner = Runner.load(
            exported.folder,
            dtype=config.engine.dtype,
            device="cuda" if gpu else "cpu",
            cache_tokens=limits.cache_tokens,
            longest=limits.longest,
        )
        runner.check()
        stop_ids = frozenset({exported.template.eot_id})
        self._engine = AsyncEngine(lambda deliver: Engine(runner, limits, stop_ids=stop_ids, deliver=deliver))

    async def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]:
        """See `AsyncEngine.generate`."""
        async for chunk in self._engine.generate(generation):
            yield chunk

    async def stats(self) -> EngineStats:
        """See `Engine.stats`."""
        return self._engine.stats()

    def check_health(self) -> None:
        """Called by Serve, which replaces the replica when this raises."""
        self._engine.engine.check_health()
