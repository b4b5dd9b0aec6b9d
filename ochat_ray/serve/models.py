"""The models behind an endpoint, by the names that clients ask for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

from ochat_ray.config import ServeConfig
from ochat_ray.errors import RequestError
from ochat_ray.exported import Exported, load_exported
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    EngineStats,
    Generation,
    OtherTemplateError,
)
from ochat_ray.serve.limits import limits_of
from ochat_ray.serve.token_text import TokenText
from ochat_ray.template import ChatTemplate

SWITCHES = 20  # times that a request is rendered again while models are replaced
T = TypeVar("T")


class Backend(Protocol):
    """What answers are made with."""

    def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]:
        """Chunks until one has a reason; closing the generator ends the work."""

    async def stats(self) -> EngineStats:
        """What the engine is doing. Raises EngineDeadError where it does not answer."""


@dataclass(frozen=True)
class ServedModel:
    """One model. `longest`: tokens of prompt and reply together; `timeout_s`: for one request."""

    name: str
    template: ChatTemplate
    backend: Backend
    longest: int
    timeout_s: float
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def of(cls, exported: Exported, backend: Backend, config: ServeConfig, name: str | None) -> ServedModel:
        """The model of an exported folder; its default name is the model type's."""
        return cls(
            name or exported.model_type.name,
            exported.template,
            backend,
            longest=limits_of(exported, config).longest,
            timeout_s=config.request_timeout_s,
        )

    @cached_property
    def token_text(self) -> TokenText:
        """What single tokens stand for."""
        return TokenText(self.template.tokenizer)

    @cached_property
    def rendered_by(self) -> str:
        """What decides the ids of a prompt."""
        return rendered_by(self.template)

    def card(self, name: str | None = None) -> dict[str, Any]:
        """OpenAI's model object, under the model's name or an alias."""
        return {
            "id": name or self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "ochat-ray",
            "max_model_len": self.longest,
            "conditions": list(self.template.model_type.conditions),
        }


def rendered_by(template: ChatTemplate) -> str:
    """What decides the ids of a prompt: equal for models that may answer each other's."""
    return f"{template.hash}/{template.tokenizer.hash}"


class Models:
    """Served models by name and by alias. The first one answers where no model is named."""

    def __init__(self, models: Sequence[ServedModel], aliases: Mapping[str, str]) -> None:
        self.models = tuple(models)
        self._by_name = {model.name: model for model in models}
        self._by_name |= {alias: self._by_name[name] for alias, name in aliases.items()}
        self._of_folder: dict[tuple[str, str], ServedModel] = {}

    def find(self, name: str | None) -> ServedModel:
        """Raises RequestError (`model_not_found`) for a name that is not served."""
        if name is None:
            return self.models[0]
        if name not in self._by_name:
            raise RequestError(
                f"the model {name!r} does not exist here; served: {', '.join(self._by_name)}",
                param="model",
                code="model_not_found",
            )
        return self._by_name[name]

    def cards(self) -> list[dict[str, Any]]:
        """A card for every name."""
        return [model.card(name) for name, model in self._by_name.items()]

    async def call(self, name: str | None, what: Callable[[ServedModel], Awaitable[T]]) -> T:
        """`what` of a model. While another folder takes its place, with the template of whichever engine
        answers: so an update may change the template too, and no request is lost or rendered wrongly."""
        model = self.find(name)
        for _ in range(SWITCHES):
            try:
                return await what(model)
            except OtherTemplateError as error:
                model = await self._of(model, error.folder)
        raise EngineDeadError("the model is being replaced")

    async def _of(self, model: ServedModel, folder: str) -> ServedModel:
        key = (model.name, folder)
        if key not in self._of_folder:
            exported = await asyncio.to_thread(load_exported, folder)
            self._of_folder[key] = replace(model, template=exported.template)
        return self._of_folder[key]
