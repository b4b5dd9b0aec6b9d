"""The HTTP side on Ray Serve: the endpoint over handles to engines, or over an engine in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from ochat_ray.config import ServeConfig
from ochat_ray.errors import RequestError
from ochat_ray.exported import load_exported
from ochat_ray.serve.access.guard import guard
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    EngineStats,
    Generation,
    OtherTemplateError,
    OverloadedError,
)
from ochat_ray.serve.http import create_api
from ochat_ray.serve.models import Backend, Models, ServedModel
from ochat_ray.serve.replica import EngineReplica

HEALTH_TIMEOUT_S = 10.0
ASLEEP = EngineStats(0, 0, 0, 0)
OURS = (RequestError, OverloadedError, EngineDeadError, OtherTemplateError)


class RemoteEngine:
    """The engine replicas behind a handle; Ray's errors become the engine's own."""

    def __init__(self, handle: DeploymentHandle[Any], *, may_sleep: bool) -> None:
        self._handle = handle
        self._streams = handle.options(stream=True)
        self._may_sleep = may_sleep

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
        """See `Backend.stats`. Wakes nobody: engines that may be scaled to none are asked only while there
        are any."""
        if self._may_sleep and not await asyncio.to_thread(_running, self._handle.deployment_id):
            return ASLEEP
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                while True:
                    try:
                        stats: EngineStats = await self._handle.stats.remote()
                        return stats
                    except RayActorError:  # that replica is gone; others may be there
                        await asyncio.sleep(0.1)
        except TimeoutError:
            raise EngineDeadError(f"no engine answered within {HEALTH_TIMEOUT_S:g} s") from None
        except Exception as error:
            raise _translated(error) from error


def _running(deployment: Any) -> bool:
    found = serve.status().applications[deployment.app_name].deployments.get(deployment.name)
    return found is not None and found.replica_states.get("RUNNING", 0) > 0


def _translated(error: Exception) -> Exception:
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, OURS):
        return cause
    if isinstance(cause, BackPressureError):
        return OverloadedError("no engine is free and too many requests wait; try again in a few seconds")
    if isinstance(cause, RayActorError | DeploymentUnavailableError | TaskCancelledError):
        return EngineDeadError("the engine is gone")
    return error


class _Endpoint:
    """Models, and the application over them."""

    def _open(
        self, folders: Mapping[str | None, str], config: ServeConfig, backends: Mapping[str | None, Backend]
    ) -> None:
        models = [
            ServedModel.of(load_exported(folder), backends[name], config, name)
            for name, folder in folders.items()
        ]
        self._models = Models(models, config.aliases)
        self._config = config

    def __serve_build_asgi_app__(self) -> Any:
        api = create_api(self._models, self._config)
        return guard(api, self._config.access, answer_request_id=False)


@serve.ingress()
class Ingress(_Endpoint):
    """Renders prompts and parses replies with the folders' own templates; engines deal in ids only.

    `folders` and `engines` are by the name of the model, which is None for the model type's own.
    """

    def __init__(
        self,
        folders: Mapping[str | None, str],
        config: ServeConfig,
        engines: Mapping[str | None, DeploymentHandle[Any]],
    ) -> None:
        may_sleep = config.autoscaling.max_replicas is not None and config.autoscaling.min_replicas == 0
        remote = {name: RemoteEngine(handle, may_sleep=may_sleep) for name, handle in engines.items()}
        self._open(folders, config, remote)


@serve.ingress()
class OneHop(_Endpoint):
    """The same with the engine in its own process: for one replica of one model."""

    def __init__(self, name: str | None, folder: str, config: ServeConfig, gpu: bool) -> None:
        self._replica = EngineReplica(folder, config, gpu)
        self._open({name: folder}, config, {name: self._replica})

    def check_health(self) -> None:
        """Called by Serve, which replaces the replica when this raises."""
        self._replica.check_health()
