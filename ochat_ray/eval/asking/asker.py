"""Ask one endpoint, many requests at a time, within its rate and one's budget."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import httpx2
import openai

from ochat_ray.client import api_key, async_openai_client
from ochat_ray.config.eval import EndpointConfig
from ochat_ray.errors import OchatError, one_line
from ochat_ray.eval.asking.bill import Budget
from ochat_ray.eval.asking.exchange import Ask, Reply
from ochat_ray.eval.asking.ledger import Ledger
from ochat_ray.surrogates import sound

J = TypeVar("J")

FAILURES = 20
"""Requests that fail in a row, each with all its retries, before the endpoint is left alone."""
REFUSED = (400, 413, 422)
"""Statuses that are about one request."""
HOPELESS = (401, 404)
"""Statuses that every further request would get too."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
"""Before a request is sent again, doubled each time, where the endpoint names no time."""
PATIENCE_S = 600.0
"""Longest time to wait because an endpoint says so."""
SHORT = 7
"""Characters of what is no real key, and may be a part of any word."""
NAMED = ("model", "messages", "temperature", "max_tokens", "logprobs", "top_logprobs")
"""What the client's method takes; everything else goes into the body as it is."""


class NotAnswered(OchatError):
    """A request got no reply; the text says why."""


class Refused(NotAnswered):
    """A request that the endpoint would never answer."""


class Asker:
    """Asks an endpoint what the ledger does not know, and writes down what it says.

    One event loop uses it. Raises NotAnswered where a request, with all its retries, got no reply. Once the
    key is refused, the model unknown, `FAILURES` requests failed in a row, or the budget is spent, nothing is
    asked any more.
    """

    def __init__(self, endpoint: EndpointConfig, ledger: Ledger, budget: Budget) -> None:
        self.endpoint = endpoint
        self._ledger = ledger
        self._budget = budget
        self._key = api_key(endpoint.key_env)
        self._pace = _Pace(endpoint.requests_per_minute)
        self._down = ""  # why nothing is asked any more
        self._failures = 0
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._client = async_openai_client(
            endpoint.url, self._key, timeout_s=endpoint.timeout_s, connections=endpoint.concurrency
        )

    async def ask(self, ask: Ask) -> Reply:
        known = self._ledger.get(ask)
        if known is not None:
            return known
        waiting = self._waiting.get(ask.key)
        if waiting is None:  # else the same is being asked, for somebody else
            waiting = self._waiting[ask.key] = asyncio.ensure_future(self._asked(ask))
            waiting.add_done_callback(lambda _: self._waiting.pop(ask.key))
        return await waiting

    async def close(self) -> None:
        await self._client.close()

    async def _asked(self, ask: Ask) -> Reply:
        attempt = 0
        while True:
            try:
                reply = await self._attempt(ask)
            except openai.APIError as error:
                wait_s = self._wait_s(error, attempt)
                if wait_s is None:
                    raise self._given_up(error) from error
            except NotAnswered:
                raise
            except Exception as error:  # what no client foresees, e.g. a reply that is no JSON
                raise self._given_up(error) from error
            else:
                self._failures = 0
                self._ledger.add(ask, reply)
                return reply
            attempt += 1
            await asyncio.sleep(wait_s)

    async def _attempt(self, ask: Ask) -> Reply:
        self._require_up()
        end = self.endpoint
        most = (ask.most_input_tokens * end.input_price + end.max_tokens * end.output_price) / 1e6
        async with self._budget.reserved(most) as allowed:
            if not allowed and not self._down:
                self._down = (
                    f"a request may cost {most:.4f}, and of the budget of {self._budget.limit:g} "
                    f"{self._budget.spent:.4f} is spent; raise eval.budget to go on"
                )
            self._require_up()
            await self._pace.next()
            self._require_up()
            began = time.monotonic()
            named = {name: value for name, value in ask.request.items() if name in NAMED}
            more = {name: value for name, value in ask.request.items() if name not in NAMED}
            try:
                completion = await self._client.chat.completions.create(**named, extra_body=more)
            except openai.APIConnectionError as error:
                if not isinstance(error.__cause__, httpx2.ConnectError):  # it may have been read, and billed
                    self._budget.pay(most)
                    self._ledger.lose(end.name, most)
                raise
            reply = reply_of(completion, time.monotonic() - began, end, most)
            self._budget.pay(reply.cost)
        return reply

    def _require_up(self) -> None:
        if self._down:
            raise NotAnswered(self._down)

    def _wait_s(self, error: openai.APIError, attempt: int) -> float | None:
        """Until the request is sent again; None where it is not."""
        status = getattr(error, "status_code", None)
        passing = isinstance(error, openai.APIConnectionError) or status in (408, 409, 429)
        if not passing and not (isinstance(status, int) and status >= 500):
            return None
        if attempt >= self.endpoint.retries or getattr(error, "code", None) == "insufficient_quota":
            return None
        said_s = _retry_after_s(error)
        if said_s is not None:
            return said_s if said_s <= PATIENCE_S else None
        return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)) * random.uniform(0.75, 1.0)

    def _given_up(self, error: Exception) -> NotAnswered:
        why = self._why(error)
        status = getattr(error, "status_code", None)
        if status in REFUSED:
            return Refused(why)
        self._failures += 1
        if status in HOPELESS or getattr(error, "code", None) == "insufficient_quota":
            self._down = why
        elif self._failures >= FAILURES:
            self._down = f"not asked any more after {FAILURES} failures in a row, the last: {why}"
        return NotAnswered(why)

    def _why(self, error: Exception) -> str:
        end = self.endpoint
        status = getattr(error, "status_code", None)
        if status == 401:
            why = f"refuses the key (401); put one into the environment variable {end.key_env}"
        elif status is not None:
            why = f"{status}: {_message(error)}"
            if status == 404 and not end.url.endswith("/v1"):
                why += "; base URLs mostly end in /v1"
        elif isinstance(error, openai.APITimeoutError):
            why = f"no reply within {end.timeout_s:g} s, {end.retries + 1} times"
        elif isinstance(error, openai.APIConnectionError):
            why = one_line(error.__cause__ or error)
        else:
            why = f"not a chat completion: {one_line(error)[:300]}"
        return f"{end.url}: {why.replace(self._key, '***') if len(self._key) > SHORT else why}"


async def each(jobs: Iterable[J], work: Callable[[J], Awaitable[Any]], workers: int) -> None:
    """Do all jobs, `workers` at a time; the first error ends all."""
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:
            await work(job)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


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


def reply_of(completion: Any, seconds: float, endpoint: EndpointConfig, most: float) -> Reply:
    """What a chat completion says, and what it cost: `most` where it tells no usage. Raises for anything
    else."""
    choice = completion.choices[0]
    text = choice.message.content
    if text is not None and not isinstance(text, str):
        raise ValueError(f"the content is {type(text).__name__}, not a text")
    usage = completion.usage
    read, written = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage is not None else (0, 0)
    first = choice.logprobs.content[0].top_logprobs if choice.logprobs and choice.logprobs.content else ()
    known = [(sound(str(one.token)), one.logprob) for one in first if isinstance(one.logprob, int | float)]
    price = (read * endpoint.input_price + written * endpoint.output_price) / 1e6
    return Reply(
        text=sound(text or ""),
        finish_reason=str(choice.finish_reason or ""),
        input_tokens=read,
        output_tokens=written,
        seconds=round(seconds, 3),
        cost=price if read or written else most,
        top_logprobs=tuple((token, float(value)) for token, value in known if math.isfinite(value)),
    )


def _retry_after_s(error: openai.APIError) -> float | None:
    """Seconds, where the endpoint names them; dates, which nobody sends with a 429, are not read."""
    response = getattr(error, "response", None)
    try:
        seconds = float(response.headers["retry-after"]) if response is not None else math.nan
    except (KeyError, ValueError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _message(error: Exception) -> str:
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(message or error).split())[:300]
