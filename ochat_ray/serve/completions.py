"""Plain completions over a model. Knows no Ray and no HTTP."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from ochat_ray.errors import RequestError
from ochat_ray.serve.account import Account
from ochat_ray.serve.chat import LONG, check_bias, prompt_ids
from ochat_ray.serve.engine.limits import check_prompt
from ochat_ray.serve.engine.request import Generation
from ochat_ray.serve.models import ServedModel
from ochat_ray.serve.protocol.common import usage_of
from ochat_ray.serve.protocol.completions import CompletionRequest
from ochat_ray.serve.protocol.texts import DetokenizeRequest, TokenizeRequest
from ochat_ray.serve.replies import Piece, replies
from ochat_ray.serve.token_text import finite

TEMPERATURE = 1.0  # OpenAI's default
MAX_TOKENS = 16  # likewise
MAX_REPLIES = 64  # of one request


async def complete(model: ServedModel, request: CompletionRequest, account: Account) -> dict[str, Any]:
    """The whole answer. Raises RequestError, and what the backend raises."""
    asked = await _generations(model, request, hold=not request.stop)
    choices = [_Choice(model, request, generation) for generation in asked]
    account.begin(
        model.name,
        _prompt_tokens(request, asked),
        choices=request.n or 1,
        prompts=len(request.prompt),
    )
    async with aclosing(replies(model, asked, request.stop or [], whole=True)) as pieces:
        async for piece in pieces:
            account.add(piece)
            choices[piece.index].add(piece)
    body = _head(request)
    body["choices"] = [choice.body(index) for index, choice in enumerate(choices)]
    return {**body, "usage": usage_of(*account.tokens)}


async def stream(
    model: ServedModel, request: CompletionRequest, account: Account
) -> AsyncGenerator[dict[str, Any], None]:
    """The answer in chunks. Nothing comes before the first token, so errors until then are plain."""
    asked = await _generations(model, request, hold=False)
    choices = [_Choice(model, request, generation) for generation in asked]
    head = _head(request)
    extra: dict[str, Any] = {"usage": None} if request.counts_usage else {}
    account.begin(
        model.name,
        _prompt_tokens(request, asked),
        choices=request.n or 1,
        prompts=len(request.prompt),
    )
    async with aclosing(replies(model, asked, request.stop or [], whole=False)) as pieces:
        async for piece in pieces:
            account.add(piece)
            choice = choices[piece.index]
            choice.add(piece)
            yield {**head, "choices": [choice.body(piece.index)], **extra}
            choice.clear()
    if request.counts_usage:
        yield {**head, "choices": [], "usage": usage_of(*account.tokens)}


async def tokenize(model: ServedModel, request: TokenizeRequest, account: Account) -> dict[str, Any]:
    """Ids of a text, or of messages as a chat completion would render them."""
    account.begin(model.name, 0)
    if request.messages is not None:
        ids = await prompt_ids(model.template, request.messages, request.condition)
    else:
        ids = await text_ids(model, request.prompt or "")
    return {"count": len(ids), "max_model_len": model.longest, "tokens": ids}


async def detokenize(model: ServedModel, request: DetokenizeRequest, account: Account) -> dict[str, Any]:
    """The text of ids; of special ones nothing."""
    account.begin(model.name, 0)
    ids = check_ids(model, request.tokens, "tokens") if request.tokens else []
    return {"prompt": model.template.tokenizer.decode(ids)}


async def text_ids(model: ServedModel, text: str) -> list[int]:
    """Ids of a text by itself, after what opens a conversation."""
    encode = model.template.tokenizer.encode
    ids = await asyncio.to_thread(encode, text) if len(text) > LONG else encode(text)
    return model.template.bos_ids + ids


def check_ids(model: ServedModel, ids: list[int], param: str) -> list[int]:
    """The ids. Raises RequestError for one that the model does not have."""
    size = model.template.tokenizer.vocab_size
    if max(ids) >= size:
        raise RequestError(f"{param}: there is no token {max(ids)}; ids go from 0 to {size - 1}", param=param)
    return ids


async def _generations(model: ServedModel, request: CompletionRequest, *, hold: bool) -> list[Generation]:
    check_bias(request, model)
    sampling = request.sampling(temperature=TEMPERATURE)
    found = []
    if len(request.prompt) * (request.n or 1) > MAX_REPLIES:
        raise RequestError(f"prompts times n are more than {MAX_REPLIES}; ask in parts", param="prompt")
    for prompt in request.prompt:
        ids = await text_ids(model, prompt) if isinstance(prompt, str) else check_ids(model, prompt, "prompt")
        if not ids:
            raise RequestError("prompt: empty, and this model type opens with no token", param="prompt")
        check_prompt(len(ids), model.longest, "prompt")
        one = Generation(
            ids,
            max_tokens=request.max_tokens or MAX_TOKENS,
            min_tokens=request.min_tokens or 0,
            stop_ids=frozenset(request.stop_token_ids or ()),
            logprobs=request.logprobs,
            hold=hold,
            template=model.rendered_by,
        )
        found += [replace(one, sampling=replace(sampling, choice=n)) for n in range(request.n or 1)]
    return found


def _prompt_tokens(request: CompletionRequest, asked: list[Generation]) -> int:
    return sum(len(one.prompt_ids) for one in asked[:: request.n or 1])


def _head(request: CompletionRequest) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.model,
    }


class _Choice:
    """A reply since the last chunk of its stream, or whole."""

    def __init__(self, model: ServedModel, request: CompletionRequest, generation: Generation) -> None:
        self._token_text = model.token_text
        self._wants_logprobs = request.logprobs is not None
        self._offset = 0
        self._reason: str | None = None
        self.clear()
        if request.echo:
            self._text = model.template.tokenizer.decode(generation.prompt_ids)
            self._offset = len(self._text)

    def add(self, piece: Piece) -> None:
        """Add what a piece says."""
        self._text += piece.text
        self._reason = piece.finish_reason
        for token_id, found in piece.logprobs:
            text = self._token_text.text_of(token_id)
            top = {self._token_text.text_of(other): finite(value) for other, value in found.top}
            self._tokens.append((text, finite(found.logprob), top, self._offset))
            self._offset += len(text)

    def clear(self) -> None:
        """The text so far has been given out."""
        self._text = ""
        self._tokens: list[tuple[str, float, dict[str, float], int]] = []

    def body(self, index: int) -> dict[str, Any]:
        """OpenAI's shape."""
        logprobs = None
        if self._wants_logprobs:
            names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
            logprobs = {name: [token[n] for token in self._tokens] for n, name in enumerate(names)}
        return {
            "index": index,
            "text": self._text,
            "logprobs": logprobs,
            "finish_reason": self._reason,
        }
