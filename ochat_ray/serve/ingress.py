"""The HTTP side on Ray Serve: chat completions over a handle to the engine deployment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from ochat_ray.config import ServeConfig
from ochat_ray.errors import RequestError
from ochat_ray.exported import load_exported
from ochat_ray.serve.chat import ChatService
from ochat_ray.serve.engine.request import Chunk, EngineDeadError, EngineStats, Generation, OverloadedError
from ochat_ray.serve.http import create_api
from ochat_ray.serve.limits import limits_of

HEALTH_TIMEOUT_S = 5.0


class RemoteEngine:
    """The engine replicas behind a handle; Ray's errors become the engine's own."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle
        self._streams = handle.options(stream=True)

    async def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]:
        """See `Backend.generate`."""
        response = self._streams.generate.remote(generation)
        try:
            async for chunk in response:
                yield chunk
        except Exception as error:
            raise _translated(error) from error
        finally:
            response.cancel()

    async def stats(self) -> EngineStats:
        """See `Backend.stats`."""
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                stats: EngineStats = await self._handle.stats.remote()
                return stats
        except TimeoutError:
            raise EngineDeadError(f"no engine answered within {HEALTH_TIMEOUT_S:g} s") from None
        except Exception as error:
            raise _translated(error) from error


def _translated(error: Exception) -> Exception:
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, RequestError | OverloadedError | EngineDeadError):
        return cause
    if isinstance(cause, BackPressureError):
        return OverloadedError("no engine is free and too many requests wait; try again in a few seconds")
    if isinstance(cause, RayActorError | DeploymentUnavailableError | TaskCancelledError):
        return EngineDeadError("the engine is gone")
    return error


@serve.ingress()
class Ingress:
    """Renders prompts and parses replies with the folder's own template; the engine deals in ids only."""

    def __init__(self, model_dir: str, config: ServeConfig, engine: DeploymentHandle[Any]) -> None:
        exported = load_exported(model_dir)
        self.service = ChatService(
            exported.template,
            RemoteEngine(engine),
            model_name=config.model_name or exported.model_type.name,
            longest=limits_of(exported, config).longest,
            timeout_s=config.request_timeout_s,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_api(self.service)
