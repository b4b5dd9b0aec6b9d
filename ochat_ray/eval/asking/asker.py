"""Ask one endpoint, many requests at a time, within its rate and one's budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import openai

from ochat_ray.client import async_openai_client
from ochat_ray.config.eval import EndpointConfig
from ochat_ray.errors import OchatError, one_line
from ochat_ray.eval.asking.bill import Budget
from ochat_ray.eval.asking.exchange import Ask, Reply
from ochat_ray.eval.asking.ledger import Ledger

J = TypeVar("J")

REFUSED = (401, 403, 404)
"""Statuses that every further request would get too."""
FAILURES = 20
"""Requests that fail in a row, each with all its retries, before the endpoint is left alone."""


class NotAnswered(OchatError):
    """A request got no reply; the text says why."""


class EndpointDown(NotAnswered):
    """The endpoint is not asked any more."""


class Asker:
    """Asks an endpoint what the ledger does not know, and writes down what it says.

    One event loop uses it. Raises NotAnswered where a request, with all its retries, got no reply, and
    EndpointDown where nothing is asked any more: the key is refused, the model unknown, `FAILURES` requests
    failed in a row, or the budget is spent.
    """

    def __init__(self, endpoint: EndpointConfig, ledger: Ledger, budget: Budget) -> None:
        self.endpoint = endpoint
        self._ledger = ledger
        self._budget = budget
        self._pace = _Pace(endpoint.requests_per_minute)
        self._down = ""  # why nothing is asked any more
        self._failures = 0
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._client: openai.AsyncOpenAI | None = None

    async def ask(self, ask: Ask) -> Reply:
        known = self._ledger.get(ask)
        if known is not None:
            return known
        waiting = self._waiting.get(ask.key)
        if waiting is None:  # else the same is being asked, for somebody else
            waiting = self._waiting[ask.key] = asyncio.ensure_future(self._asked(ask))
            waiting.add_done_callback(lambda _: self._waiting.pop(ask.key))
        return await waiting

    async def _asked(self, ask: Ask) -> Reply:
        end = self.endpoint
        most = (ask.most_input_tokens * end.input_price + end.max_tokens * end.output_price) / 1e6
        async with self._budget.reserved(most) as allowed:
            if not allowed:
                limit = self._budget.limit
                self._down = self._down or f"the budget of {limit:g} is spent; raise eval.budget to go on"
            await self._pace.next()
            if self._down:
                raise EndpointDown(self._down)
            reply = await self._send(ask)
            self._budget.pay(reply.cost(end))
        self._ledger.add(ask, reply)
        return reply

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _send(self, ask: Ask) -> Reply:
        began = time.monotonic()
        try:
            completion = await self._open().chat.completions.create(**ask.request)
            reply = reply_of(completion, time.monotonic() - began)
        except Exception as error:  # also what no client foresees, e.g. a reply that is no JSON
            why = self._why(error)
            self._failures += 1
            if getattr(error, "status_code", None) in REFUSED:
                self._down = why
            elif self._failures >= FAILURES:
                self._down = f"not asked any more after {FAILURES} failures in a row, the last: {why}"
            raise (EndpointDown if self._down else NotAnswered)(why) from error
        self._failures = 0
        return reply

    def _open(self) -> openai.AsyncOpenAI:
        if self._client is None:
            end = self.endpoint
            self._client = async_openai_client(
                end.url,
                key_env=end.key_env,
                timeout_s=end.timeout_s,
                retries=end.retries,
                connections=end.concurrency,
            )
        return self._client

    def _why(self, error: Exception) -> str:
        end = self.endpoint
        status = getattr(error, "status_code", None)
        if status == 401:
            return f"{end.url} refuses the key (401); put one into the environment variable {end.key_env}"
        if status is not None:
            return f"{end.url}: {status}: {_message(error)}"
        if isinstance(error, openai.APITimeoutError):
            return f"{end.url}: no reply within {end.timeout_s:g} s, {end.retries + 1} times"
        if isinstance(error, openai.APIConnectionError):
            return f"{end.url}: {one_line(error.__cause__ or error)}"
        return f"{end.url}: not a chat completion: {one_line(error)}"


async def each(jobs: Iterable[J], work: Callable[[J], Awaitable[Any]], workers: int) -> None:
    """Do all jobs, `workers` at a time; the first error ends all."""
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:
            await work(job)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())


class _Pace:
    """So many begun a minute, evenly."""

    def __init__(self, per_minute: float | None) -> None:
        self._interval_s = 60 / per_minute if per_minute else 0.0
        self._next_s = 0.0

    async def next(self) -> None:
        if not self._interval_s:
            return
        now = time.monotonic()
        at = max(now, self._next_s)
        self._next_s = at + self._interval_s
        await asyncio.sleep(at - now)


def reply_of(completion: Any, seconds: float) -> Reply:
    """What a chat completion says; raises where it is none."""
    choice = completion.choices[0]
    usage = completion.usage
    first = choice.logprobs.content[0].top_logprobs if choice.logprobs and choice.logprobs.content else ()
    return Reply(
        text=choice.message.content or "",
        finish_reason=choice.finish_reason or "",
        input_tokens=usage.prompt_tokens if usage else 0,
        output_tokens=usage.completion_tokens if usage else 0,
        seconds=round(seconds, 3),
        top_logprobs=tuple((one.token, one.logprob) for one in first),
    )


def _message(error: Exception) -> str:
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(message or error).split())[:300]
