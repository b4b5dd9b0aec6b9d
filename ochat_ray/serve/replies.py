"""Replies of an engine as text: token ids to characters, up to stop strings, several at a time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from ochat_ray.serve.engine.detokenize import Detokenizer, StopStrings
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    FinishReason,
    Generation,
    OtherTemplateError,
    TokenLogprob,
)
from ochat_ray.serve.models import ServedModel

RETRIES = 3  # after the loss of an engine, while nothing of the reply has been passed on
BACKOFF_S = 0.25  # before the first of them; doubles


class Scored(NamedTuple):
    """A token and its log-probability."""

    token_id: int
    logprob: TokenLogprob


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one reply, and how many tokens it took. `cached`: tokens of the prompt that were known."""

    index: int
    text: str
    tokens: int
    logprobs: list[Scored]
    cached: int
    finish_reason: FinishReason | None


async def replies(
    model: ServedModel, generations: Sequence[Generation], stops: Sequence[str], *, whole: bool
) -> AsyncGenerator[Piece, None]:
    """Pieces of all replies as they come; with `whole`, once all are complete.

    A reply that is lost with its engine is begun again, unless some of it has been given out. Raises
    TimeoutError after the model's time limit, and the first error of any reply; the others are then ended.
    """
    deadline = asyncio.get_running_loop().time() + model.timeout_s
    held: list[Piece] = []
    for attempt in itertools.count():
        given = False
        held.clear()
        try:
            async with aclosing(_attempt(model, generations, stops, deadline)) as pieces:
                async for piece in pieces:
                    if whole:
                        held.append(piece)
                    else:
                        given = True
                        yield piece
            break
        except EngineDeadError:
            if given or attempt >= RETRIES:
                raise
        except OtherTemplateError as error:
            if given:  # another choice's text is out already
                raise EngineDeadError("the model was replaced meanwhile") from error
            raise
        await asyncio.sleep(BACKOFF_S * 2**attempt)
    for piece in held:
        yield piece


async def _attempt(
    model: ServedModel, generations: Sequence[Generation], stops: Sequence[str], deadline: float
) -> AsyncGenerator[Piece, None]:
    if len(generations) == 1:
        async with aclosing(_reply(model, 0, generations[0], stops)) as pieces:
            while True:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces)
                yield piece
                if piece.finish_reason is not None:
                    return
    queue: asyncio.Queue[Piece | Exception] = asyncio.Queue()

    async def follow(index: int, generation: Generation) -> None:
        try:
            async for piece in _reply(model, index, generation, stops):
                queue.put_nowait(piece)
        except Exception as error:
            queue.put_nowait(error)

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


async def _reply(
    model: ServedModel, index: int, generation: Generation, stops: Sequence[str]
) -> AsyncGenerator[Piece, None]:
    """Text of one reply, one piece for each chunk of the engine."""
    text = _Text(model, stops, generation.stop_ids)
    async with aclosing(model.backend.generate(generation)) as chunks:
        async for chunk in chunks:
            piece = text.piece(index, chunk)
            yield piece
            if piece.finish_reason is not None:
                return
    raise EngineDeadError("the engine ended the request without saying why")


class _Text:
    """Turns chunks of one reply into text."""

    def __init__(self, model: ServedModel, stops: Sequence[str], stop_ids: frozenset[int]) -> None:
        self._detokenizer = Detokenizer(model.template.tokenizer.decode)
        self._stopper = StopStrings(stops) if stops else None
        self._silent = frozenset(model.template.tokenizer.special_ids.values()) | stop_ids

    def piece(self, index: int, chunk: Chunk) -> Piece:
        tokens, text = len(chunk.token_ids), ""
        reason = chunk.finish_reason
        if self._stopper is None:
            text = self._detokenizer.push([i for i in chunk.token_ids if i not in self._silent])
            if reason is not None:
                text += self._detokenizer.flush()
        else:
            tokens = 0
            for token_id in chunk.token_ids:
                tokens += 1
                if token_id not in self._silent:
                    text += self._stopper.push(self._detokenizer.push([token_id]))
                if self._stopper.hit:
                    break
            if reason is not None and not self._stopper.hit:
                text += self._stopper.push(self._detokenizer.flush())
                if not self._stopper.hit:
                    text += self._stopper.flush()
            if self._stopper.hit:
                reason = "stop"
        shown = [
            Scored(token_id, logprob)
            for token_id, logprob in zip(chunk.token_ids[:tokens], chunk.logprobs or (), strict=False)
            if token_id not in self._silent
        ]
        return Piece(index, text, tokens, shown, chunk.cached_tokens, reason)
