"""The engine's loop, in a thread of its own: requests in, tokens out, one delivery a step."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ochat_ray.serve.engine.grammar import Grammar
from ochat_ray.serve.engine.limits import Limits, check_prompt
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    EngineStats,
    FinishReason,
    Generation,
    OverloadedError,
)
from ochat_ray.serve.engine.room import Room
from ochat_ray.serve.engine.runner import Outputs
from ochat_ray.serve.engine.sampling import Sampler, logprobs_of, sample
from ochat_ray.serve.engine.scheduler import Request, Scheduler, Step, Work


class Model(Protocol):
    """What the loop needs of a runner."""

    device: torch.device

    def run(self, step: Step) -> Outputs: ...


class Output(NamedTuple):
    """What a step gave one request: tokens, or why the engine died."""

    key: int
    result: Chunk | EngineDeadError


@dataclass(slots=True)
class _Live:
    """A request that has not finished."""

    request: Request
    sampler: Sampler
    stop_ids: frozenset[int]
    prompt: int
    sum_E: Tensor | None = None
    """Of a pooled request's hidden states so far."""
    told: bool = False
    """Whether its first chunk has been delivered."""


@dataclass(slots=True)
class _Done:
    """Tokens so far."""

    prompts: int = 0
    cached: int = 0
    generated: int = 0


@dataclass(slots=True)
class _Inbox:
    """What other threads ask of the loop."""

    arrived: list[_Live] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    close: bool = False


class Engine:
    """Continuous batching. `submit` and `cancel` from any thread; `deliver` is called in the loop's thread,
    once a step, with what each request got. Every request ends in a chunk with a reason, in an error, or
    by `cancel`.
    """

    def __init__(
        self,
        model: Model,
        limits: Limits,
        *,
        stop_ids: frozenset[int],
        deliver: Callable[[Sequence[Output]], None],
    ) -> None:
        self.limits = limits
        self._model = model
        self._stop_ids = stop_ids
        self._deliver = deliver
        self._scheduler = Scheduler(
            Room(limits.cache_tokens), max_running=limits.max_running, prefill_chunk=limits.prefill_chunk
        )
        self._live: dict[int, _Live] = {}
        self._keys = itertools.count()
        self._changed = threading.Condition()
        self._inbox = _Inbox()
        self._done = _Done()
        self._publish()
        self._death: Exception | None = None
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def submit(self, generation: Generation, grammar: Grammar | None = None) -> int:
        """Queue a request and return its key; `grammar` is that of its `json_schema`.

        Raises RequestError for a prompt that does not fit, OverloadedError, EngineDeadError.
        """
        prompt = generation.prompt_ids
        assert prompt
        check_prompt(len(prompt), self.limits.longest)
        limit = self.limits.longest
        if generation.max_tokens is not None:
            limit = min(limit, len(prompt) + generation.max_tokens)
        stop_ids = self._stop_ids | generation.stop_ids
        sampler = Sampler(generation, self._model.device, stop_ids=stop_ids, grammar=grammar)
        with self._changed:
            self.check_health()
            unfinished = len(self._live) + len(self._inbox.arrived)
            if unfinished >= self.limits.max_running + self.limits.max_queued:
                raise OverloadedError(
                    f"{unfinished} requests are running or waiting already; try again in a few seconds"
                )
            key = next(self._keys)
            live = _Live(
                Request(key, list(prompt), limit, pooled=generation.pool), sampler, stop_ids, len(prompt)
            )
            self._inbox.arrived.append(live)
            self._changed.notify()
        return key

    def cancel(self, key: int) -> None:
        """Stop a request, if it is still going: its room is free before the next step."""
        with self._changed:
            # Most are over already, and nothing is to wake the loop for them.
            if key in self._live or any(live.request.key == key for live in self._inbox.arrived):
                self._inbox.cancelled.append(key)
                self._changed.notify()

    def check_health(self) -> None:
        """Raises EngineDeadError, with the cause, when the loop has ended."""
        if self._death is not None:
            raise EngineDeadError(f"the engine stopped: {self._death!r}") from self._death

    def stats(self) -> EngineStats:
        """As of the last step. Raises EngineDeadError."""
        self.check_health()
        return self._stats

    def close(self) -> None:
        """End the loop; requests that are still going get an error."""
        with self._changed:
            self._inbox.close = True
            self._changed.notify()
        self._thread.join()

    def _loop(self) -> None:
        death: Exception = RuntimeError("it was closed")
        try:
            while self._take_requests():
                outputs = self._step()
                self._publish()
                self._deliver(outputs)
        except Exception as error:
            death = error
        with self._changed:
            self._death = death  # from here on nothing is accepted, so these are all
            keys = [*self._live, *(live.request.key for live in self._inbox.arrived)]
        self._deliver([Output(key, EngineDeadError(f"the engine stopped: {death!r}")) for key in keys])

    def _take_requests(self) -> bool:
        """Wait for work. False when the engine is to close."""
        with self._changed:
            self._publish()
            self._changed.wait_for(self._has_news)
            inbox, self._inbox = self._inbox, _Inbox()
            for live in inbox.arrived:
                self._live[live.request.key] = live
                self._scheduler.add(live.request)
            for key in inbox.cancelled:
                if key in self._live:  # may have finished meanwhile
                    self._forget(key)
            self._publish()
        return not inbox.close

    def _has_news(self) -> bool:
        inbox = self._inbox
        return bool(self._scheduler.busy or inbox.arrived or inbox.cancelled or inbox.close)

    def _step(self) -> list[Output]:
        if not self._scheduler.busy:
            return []
        step = self._scheduler.schedule()
        self._publish()  # the step may take long
        logits_RV, sums_E = self._model.run(step)
        outputs = [self._pool(work, sums_E[work.request.key]) for work in step.work if work.request.pooled]
        live = [self._live[work.request.key] for work in step.work if work.samples]
        # Before sampling changes the logits.
        wanted = {r: logits_RV[r].clone() for r, one in enumerate(live) if one.sampler.logprobs is not None}
        tokens = sample(logits_RV, [one.sampler for one in live])
        sampled = [
            self._extend(one, token, wanted.get(r))
            for r, (one, token) in enumerate(zip(live, tokens, strict=True))
        ]
        self._done.generated += len(sampled)
        return [output for output in outputs if output is not None] + sampled

    def _extend(self, live: _Live, token: int, logits_V: Tensor | None) -> Output:
        request = live.request
        request.tokens.append(token)
        reason: FinishReason | None = None
        if token in live.stop_ids:
            reason = "stop"
        elif len(request.tokens) >= request.limit:
            reason = "length"
        logprobs = None
        if logits_V is not None:
            logprobs = [logprobs_of(logits_V, token, live.sampler.logprobs or 0)]
        return Output(request.key, self._tell(live, Chunk([token], reason, logprobs)))

    def _pool(self, work: Work, sum_E: Tensor) -> Output | None:
        """Add a stretch of a pooled prompt; the embedding once it is all there."""
        live = self._live[work.request.key]
        live.sum_E = sum_E if work.start == 0 or live.sum_E is None else live.sum_E + sum_E
        if work.end < len(work.request.tokens):
            return None
        # The mean points where the sum does.
        embedding: list[float] = torch.nn.functional.normalize(live.sum_E, dim=0).tolist()
        return Output(work.request.key, self._tell(live, Chunk([], "stop", embedding=embedding)))

    def _tell(self, live: _Live, chunk: Chunk) -> Chunk:
        """The chunk, with what only the first one says."""
        if not live.told:
            live.told = True
            chunk = chunk._replace(cached_tokens=live.request.cached)
            self._done.prompts += live.prompt
            self._done.cached += live.request.cached
        if chunk.finish_reason is not None:
            self._forget(live.request.key)
        return chunk

    def _forget(self, key: int) -> None:
        self._live.pop(key, None)
        self._scheduler.remove(key)

    def _publish(self) -> None:
        scheduler = self._scheduler
        self._stats = EngineStats(
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            free_tokens=scheduler.room.free,
            cache_tokens=scheduler.room.capacity,
            prompt_tokens=self._done.prompts,
            cached_tokens=self._done.cached,
            generated_tokens=self._done.generated,
            preemptions=scheduler.preemptions,
        )
