"""Requests answered in bulk, without a server: what a worker of batch inference does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ochat_ray.config import ServeConfig
from ochat_ray.errors import RequestError, one_line
from ochat_ray.exported import load_exported
from ochat_ray.serve import chat
from ochat_ray.serve.account import Account
from ochat_ray.serve.models import ServedModel
from ochat_ray.serve.protocol.chat import ChatRequest
from ochat_ray.serve.protocol.common import parse_body
from ochat_ray.serve.replica import EngineReplica


class BatchWorker:
    """An engine that answers chat completions, as the endpoint would.

    `gpu`: whether it was given a GPU. Raises CheckpointError for a folder that cannot be served.
    """

    def __init__(self, folder: str, config: ServeConfig, gpu: bool) -> None:
        self._model = ServedModel.of(load_exported(folder), EngineReplica(folder, config, gpu), config, None)

    async def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add to the columns of a batch: `response`, OpenAI's chat completion as JSON, or an empty text, and
        `error`, why there is none. `request` holds the bodies as JSON; all of a batch run at a time."""
        answered = await asyncio.gather(*(self._answer(text) for text in batch["request"]))
        responses, errors = zip(*answered, strict=True)
        return {**batch, "response": list(responses), "error": list(errors)}

    async def _answer(self, text: str) -> tuple[str, str]:
        try:
            request = parse_body(ChatRequest, text.encode())
            return json.dumps(await chat.answer(self._model, request, Account({}))), ""
        except RequestError as error:  # of this request; others go on
            return "", one_line(error)
