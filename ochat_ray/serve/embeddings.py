"""Embeddings of texts by a served model: the mean of the last layer's outputs, of length 1."""

from __future__ import annotations

import asyncio
import base64
from contextlib import aclosing
from typing import Any

import numpy as np

from ochat_ray.errors import RequestError
from ochat_ray.serve.account import Account
from ochat_ray.serve.completions import check_ids, text_ids
from ochat_ray.serve.engine.limits import check_prompt
from ochat_ray.serve.engine.request import EngineDeadError, Generation
from ochat_ray.serve.models import ServedModel
from ochat_ray.serve.protocol.texts import EmbeddingRequest

AT_A_TIME = 8  # texts of one request


async def embed(model: ServedModel, request: EmbeddingRequest, account: Account) -> dict[str, Any]:
    """OpenAI's list of embeddings. Raises RequestError, and what the backend raises."""
    asked = []
    for text in request.input:
        ids = await text_ids(model, text) if isinstance(text, str) else check_ids(model, text, "input")
        if not ids:
            raise RequestError(
                "input: a text is empty, and this model type opens with no token", param="input"
            )
        check_prompt(len(ids), model.longest, "input")
        asked.append(Generation(ids, pool=True, template=model.rendered_by))
    prompt_tokens = sum(len(one.prompt_ids) for one in asked)
    account.begin(model.name, prompt_tokens)
    vectors = await _all_of(model, asked)
    size = len(vectors[0])
    if request.dimensions not in (None, size):
        raise RequestError(f"dimensions: this model's embeddings have {size}", param="dimensions")
    return {
        "object": "list",
        "model": request.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, request.encoding_format)}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    }


async def _all_of(model: ServedModel, asked: list[Generation]) -> list[list[float]]:
    """A few at a time, so that one request does not fill the queue; the first error ends the others."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(generation: Generation) -> list[float]:
        async with places:
            return await _embedding(model, generation)

    try:
        async with asyncio.timeout(model.timeout_s), asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(generation)) for generation in asked]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _embedding(model: ServedModel, generation: Generation) -> list[float]:
    async with aclosing(model.backend.generate(generation)) as chunks:
        async for chunk in chunks:
            if chunk.embedding is not None:
                return chunk.embedding
    raise EngineDeadError("the engine ended the request without an embedding")


def _encoded(vector: list[float], encoding: str | None) -> list[float] | str:
    if encoding != "base64":
        return vector
    return base64.b64encode(np.array(vector, "<f4").tobytes()).decode()
