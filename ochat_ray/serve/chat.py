"""Chat completions over an engine: messages to token ids, token ids to text, text to OpenAI's answers.

Knows neither Ray nor HTTP: an engine is anything with `generate` and `stats`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ochat_ray.errors import RequestError
from ochat_ray.serve.engine.detokenize import Detokenizer, StopStrings
from ochat_ray.serve.engine.limits import check_prompt
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    EngineStats,
    FinishReason,
    Generation,
    SamplingParams,
)
from ochat_ray.serve.protocol import Answer, ChatRequest, usage_of
from ochat_ray.template import ChatTemplate


class Backend(Protocol):
    """What answers are made with."""

    def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]:
        """Chunks until one has a reason; closing the generator ends the work."""

    async def stats(self) -> EngineStats:
        """What the engine is doing. Raises EngineDeadError where it does not answer."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one choice, and how many tokens it took."""

    index: int
    text: str
    tokens: int
    finish_reason: FinishReason | None


class ChatService:
    """One served model. `longest`: tokens of prompt and reply together."""

    def __init__(
        self, template: ChatTemplate, backend: Backend, *, model_name: str, longest: int, timeout_s: float
    ) -> None:
        self.template = template
        self.backend = backend
        self.model_name = model_name
        self.longest = longest
        self.timeout_s = timeout_s
        self.created = int(time.time())
        self._specials = frozenset(template.tokenizer.special_ids.values())
        self._vocabulary = template.tokenizer.vocab_size

    def check_model(self, name: str) -> None:
        """Raises RequestError (`model_not_found`) for any but the served model."""
        if name != self.model_name:
            raise RequestError(
                f"the model {name!r} does not exist here; served: {self.model_name}",
                param="model",
                code="model_not_found",
            )

    async def answer(self, request: ChatRequest) -> dict[str, Any]:
        """The whole answer. Raises RequestError, and what the backend raises."""
        prompt_ids = self._prompt(request)
        texts = [""] * (request.n or 1)
        reasons = [""] * len(texts)
        tokens = 0
        async with aclosing(self._pieces(request, prompt_ids)) as pieces:
            async for piece in pieces:
                texts[piece.index] += piece.text
                reasons[piece.index] = piece.finish_reason or ""
                tokens += piece.tokens
        usage = usage_of(len(prompt_ids), tokens)
        return self._new_answer().whole(list(zip(texts, reasons, strict=True)), usage)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[dict[str, Any], None]:
        """The answer in chunks. Nothing comes before the first token, so errors until then are plain."""
        prompt_ids = self._prompt(request)
        answer = self._new_answer()
        counted = request.stream_options is not None and bool(request.stream_options.include_usage)
        extra: dict[str, Any] = {"usage": None} if counted else {}
        opened: set[int] = set()
        tokens = 0
        async with aclosing(self._pieces(request, prompt_ids)) as pieces:
            async for piece in pieces:
                tokens += piece.tokens
                if piece.index not in opened:
                    opened.add(piece.index)
                    yield {**answer.delta(piece.index, {"role": "assistant", "content": ""}), **extra}
                if piece.text:
                    yield {**answer.delta(piece.index, {"content": piece.text}), **extra}
                if piece.finish_reason is not None:
                    yield {**answer.delta(piece.index, {}, piece.finish_reason), **extra}
        if counted:
            yield answer.usage(usage_of(len(prompt_ids), tokens))

    def _prompt(self, request: ChatRequest) -> list[int]:
        self.check_model(request.model)
        bad = next((i for i in request.logit_bias or {} if not 0 <= i < self._vocabulary), None)
        if bad is not None:
            raise RequestError(
                f"logit_bias: there is no token {bad}; ids go from 0 to {self._vocabulary - 1}",
                param="logit_bias",
            )
        messages = [message.to_message() for message in request.messages]
        ids = self.template.render_prompt(messages, request.condition)
        check_prompt(len(ids), self.longest)
        return ids

    def _generations(self, request: ChatRequest, prompt_ids: list[int]) -> list[Generation]:
        sampling = SamplingParams(
            temperature=0.7 if request.temperature is None else request.temperature,
            top_p=1.0 if request.top_p is None else request.top_p,
            seed=request.seed,
            presence_penalty=request.presence_penalty or 0.0,
            frequency_penalty=request.frequency_penalty or 0.0,
            logit_bias=request.logit_bias or {},
        )
        max_tokens = request.max_completion_tokens or request.max_tokens
        choices = range(request.n or 1)
        return [Generation(prompt_ids, max_tokens, replace(sampling, choice=choice)) for choice in choices]

    async def _pieces(self, request: ChatRequest, prompt_ids: list[int]) -> AsyncGenerator[Piece, None]:
        """Pieces of all choices as they come. Raises TimeoutError after `timeout_s`, and the first error
        of any choice; the work of the others is then ended."""
        queue: asyncio.Queue[Piece | Exception] = asyncio.Queue()

        async def follow(index: int, generation: Generation) -> None:
            try:
                async for piece in self._choice(index, generation, request.stop or []):
                    queue.put_nowait(piece)
            except Exception as error:
                queue.put_nowait(error)

        generations = self._generations(request, prompt_ids)
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        tasks = [asyncio.create_task(follow(i, g)) for i, g in enumerate(generations)]
        try:
            unfinished = len(tasks)
            while unfinished:
                async with asyncio.timeout_at(deadline):
                    item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                unfinished -= item.finish_reason is not None
                yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _choice(self, index: int, generation: Generation, stops: list[str]) -> AsyncIterator[Piece]:
        """Text of one choice, one piece for each chunk of the engine."""
        detokenizer = Detokenizer(self.template.tokenizer.decode)
        stopper = StopStrings(stops)
        async with aclosing(self.backend.generate(generation)) as chunks:
            async for ids, reason in chunks:
                text, tokens = "", 0
                for token_id in ids:
                    tokens += 1
                    if token_id not in self._specials:
                        text += stopper.push(detokenizer.push(token_id))
                    if stopper.hit:
                        yield Piece(index, text, tokens, "stop")
                        return
                if reason is None:
                    yield Piece(index, text, tokens, None)
                    continue
                text += stopper.push(detokenizer.flush())
                if stopper.hit:
                    reason = "stop"
                yield Piece(index, text + stopper.flush(), tokens, reason)
                return
        raise EngineDeadError("the engine ended the request without saying why")

    def _new_answer(self) -> Answer:
        return Answer(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), self.model_name)
