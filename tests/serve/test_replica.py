"""One replica without Serve: it speaks, and its health is the loop's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ochat_ray.config import ServeConfig
from ochat_ray.config.serve import EngineConfig
from ochat_ray.serve.engine.request import EngineDeadError, Generation
from ochat_ray.serve.replica import EngineReplica


def test_health_turns_bad_with_the_loop_so_that_serve_replaces_the_replica(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = EngineReplica(str(model_dir), ServeConfig(engine=EngineConfig(cache_tokens=2048)), gpu=False)
    replica.check_health()

    async def generate() -> list[int]:
        return [token async for chunk in replica.generate(Generation([5], 5)) for token in chunk.token_ids]

    assert len(asyncio.run(generate())) == 5

    def broken(*_: object) -> None:
        raise RuntimeError("device lost")

    monkeypatch.setattr("ochat_ray.serve.engine.engine.sample", broken)
    with pytest.raises(EngineDeadError, match="device lost"):
        asyncio.run(generate())
    with pytest.raises(EngineDeadError, match="device lost"):
        replica.check_health()
