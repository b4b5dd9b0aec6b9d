"""The engine for asyncio: a request is an async generator of the tokens that became ready meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ochat_ray.serve.engine.engine import Engine, Output
from ochat_ray.serve.engine.grammar import Grammars
from ochat_ray.serve.engine.request import Chunk, EngineDeadError, EngineStats, Generation


class _Mailbox:
    def __init__(self, hold: bool) -> None:
        self.outputs: list[Chunk | EngineDeadError] = []
        self.filled = asyncio.Event()
        self._hold = hold

    def put(self, output: Chunk | EngineDeadError) -> None:
        self.outputs.append(output)
        if not self._hold or isinstance(output, EngineDeadError) or output.finish_reason is not None:
            self.filled.set()


class AsyncEngine:
    """Owns an engine made by `build`, which is given the function to deliver to.

    One wake-up of the event loop a step, however many requests run; tokens that pile up while a reader
    is busy come as one chunk. `grammars` compiles the schemas of replies.
    """

    def __init__(
        self, build: Callable[[Callable[[Sequence[Output]], None]], Engine], grammars: Grammars
    ) -> None:
        self._grammars = grammars
        # One thread: choices of one request compile their schema once, and nobody's takes all threads.
        self._compiling = ThreadPoolExecutor(1, "grammar")
        self._mailboxes: dict[int, _Mailbox] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.engine = build(self._deliver)

    async def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]:
        """Chunks of a request until one has a reason. Closing the generator cancels the request.

        Raises what `Engine.submit` raises, and EngineDeadError.
        """
        self._loop = asyncio.get_running_loop()
        grammar = None
        if generation.json_schema is not None:
            loop = asyncio.get_running_loop()
            grammar = await loop.run_in_executor(
                self._compiling, self._grammars.grammar, generation.json_schema
            )
        key = self.engine.submit(generation, grammar)
        mailbox = self._mailboxes[key] = _Mailbox(generation.hold)
        try:
            while True:
                await mailbox.filled.wait()
                mailbox.filled.clear()
                chunk = _merge(mailbox.outputs)
                mailbox.outputs = []
                yield chunk
                if chunk.finish_reason is not None:
                    return
        finally:
            del self._mailboxes[key]
            self.engine.cancel(key)

    def stats(self) -> EngineStats:
        """See `Engine.stats`."""
        return self.engine.stats()

    def check_health(self) -> None:
        """See `Engine.check_health`."""
        self.engine.check_health()

    def close(self) -> None:
        """See `Engine.close`."""
        self.engine.close()

    def _deliver(self, outputs: Sequence[Output]) -> None:
        if outputs and self._loop is not None:
            self._loop.call_soon_threadsafe(self._post, outputs)

    def _post(self, outputs: Sequence[Output]) -> None:
        for key, output in outputs:
            mailbox = self._mailboxes.get(key)
            if mailbox is not None:  # else cancelled meanwhile
                mailbox.put(output)


def _merge(outputs: Sequence[Chunk | EngineDeadError]) -> Chunk:
    chunks = []
    for output in outputs:
        if isinstance(output, EngineDeadError):
            raise output
        chunks.append(output)
    if len(chunks) == 1:
        return chunks[0]
    ids = [token_id for chunk in chunks for token_id in chunk.token_ids]
    logprobs = None
    if chunks[0].logprobs is not None:
        logprobs = [one for chunk in chunks for one in chunk.logprobs or ()]
    return chunks[-1]._replace(token_ids=ids, logprobs=logprobs, cached_tokens=chunks[0].cached_tokens)
