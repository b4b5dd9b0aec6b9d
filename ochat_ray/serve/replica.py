"""One engine replica: the model of a folder on one device. Token ids in, token ids out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from ochat_ray import metrics
from ochat_ray.config import ServeConfig
from ochat_ray.exported import Exported, load_exported
from ochat_ray.serve import tracing
from ochat_ray.serve.engine.limits import Limits
from ochat_ray.serve.engine.request import Chunk, EngineStats, Generation, OtherTemplateError
from ochat_ray.serve.limits import limits_of
from ochat_ray.serve.models import rendered_by


class AnyEngine(Protocol):
    """Ours, or vLLM's."""

    def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]: ...

    def stats(self) -> EngineStats: ...

    def check_health(self) -> None: ...

    def close(self) -> None: ...


class EngineReplica:
    """Loads the model, checks it against its own attention, and starts the loop. In one process with what
    asks it, it is a `Backend` as it stands.

    `gpu`: whether this replica was given a GPU. Raises CheckpointError for a folder that cannot be served.
    """

    def __init__(self, model_dir: str, config: ServeConfig, gpu: bool) -> None:
        exported = load_exported(model_dir)
        self._folder = str(exported.folder)
        self._rendered_by = rendered_by(exported.template)
        limits = limits_of(exported, config)
        build = _vllm if config.engine.kind == "vllm" else _native
        self._engine: AnyEngine = build(exported, config, limits, gpu)
        self._counted: dict[str, int] = {}

    async def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]:
        """Chunks until one has a reason; closing the generator ends the work.

        Raises OtherTemplateError for a prompt that was rendered for another model, and what engines raise.
        """
        if generation.template not in (None, self._rendered_by):
            raise OtherTemplateError(self._folder)
        begun = False
        async with aclosing(self._engine.generate(generation)) as chunks:
            async for chunk in chunks:
                if not begun:
                    begun = True
                    tracing.first_token()
                yield chunk

    async def stats(self) -> EngineStats:
        """What the engine is doing."""
        return self._engine.stats()

    def check_health(self) -> None:
        """Called every few seconds by Serve, which replaces the replica when this raises."""
        self._engine.check_health()
        now = asdict(self._engine.stats())
        metrics.engine(now, self._counted)
        self._counted = now

    def close(self) -> None:
        """End the engine."""
        self._engine.close()


def _native(exported: Exported, config: ServeConfig, limits: Limits, gpu: bool) -> AnyEngine:
    import torch

    from ochat_ray.serve.engine.engine import Engine
    from ochat_ray.serve.engine.grammar import Grammars
    from ochat_ray.serve.engine.runner import Runner
    from ochat_ray.serve.engine.stream import AsyncEngine

    torch.set_num_threads(config.engine.threads)
    runner = Runner.load(
        exported.folder,
        dtype=config.engine.dtype,
        device="cuda" if gpu else "cpu",
        cache_tokens=limits.cache_tokens,
        graphs_for=limits.max_running,
    )
    runner.check()
    stop_ids = frozenset({exported.template.eot_id})
    grammars = Grammars(exported.template.tokenizer, runner.vocabulary, stop_ids)
    return AsyncEngine(lambda deliver: Engine(runner, limits, stop_ids=stop_ids, deliver=deliver), grammars)


def _vllm(exported: Exported, config: ServeConfig, limits: Limits, gpu: bool) -> AnyEngine:  # noqa: ARG001
    from ochat_ray.serve.vllm_engine import VllmEngine

    return VllmEngine.load(
        Path(exported.folder),
        dtype=config.engine.dtype,
        cache_tokens=limits.cache_tokens,
        max_running=limits.max_running,
        max_queued=limits.max_queued,
        prefill_chunk=limits.prefill_chunk,
        longest=limits.longest,
        stop_ids=frozenset({exported.template.eot_id}),
    )
