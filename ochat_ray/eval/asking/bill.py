"""What asking will cost, may cost, and has cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ochat_ray.config.eval import EndpointConfig
from ochat_ray.eval.asking.exchange import Ask, Reply
from ochat_ray.eval.asking.ledger import Ledger
from ochat_ray.progress import duration

BYTES_PER_TOKEN = 4.0
"""Of English text, about; only estimates use it."""
SECONDS_PER_TOKEN = 0.02
"""Of a reply, before any is known; only estimates use it."""


class Budget:
    """What all endpoints of an evaluation together may cost, None for no limit; `spent` is what the replies
    cost that are there already. One event loop uses it."""

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self.limit = limit
        self.spent = spent
        self._reserved: dict[object, float] = {}  # of the requests that run
        self._freed = asyncio.Condition()

    def pay(self, cost: float) -> None:
        """Count what was spent."""
        self.spent += cost

    @asynccontextmanager
    async def reserved(self, most: float) -> AsyncIterator[bool]:
        """Hold back the most that a request can cost while it runs; waits for others where it does not fit
        beside them. False where it does not fit at all."""
        if self.limit is None:
            yield True
            return
        own = object()
        async with self._freed:
            await self._freed.wait_for(lambda: self._fits(most) or not self._reserved)
            allowed = self._fits(most)
            if allowed:
                self._reserved[own] = most
        try:
            yield allowed
        finally:
            async with self._freed:
                self._reserved.pop(own, None)
                self._freed.notify_all()

    def _fits(self, most: float) -> bool:
        return self.limit is None or self.spent + sum(self._reserved.values()) + most <= self.limit


@dataclass(frozen=True)
class Bill:
    """What the replies of an endpoint took, those of earlier runs included."""

    name: str
    replies: int
    input_tokens: int
    output_tokens: int
    seconds: float
    """Of all replies added up; many came at a time."""
    cost: float
    priced: bool

    def __str__(self) -> str:
        money = f", cost {self.cost:.2f}" if self.priced else ""
        return (
            f"{self.name}: {self.replies:,} replies, {self.input_tokens:,} tokens of prompts and "
            f"{self.output_tokens:,} of replies{money}"
        )


def bill(endpoint: EndpointConfig, replies: Sequence[Reply]) -> Bill:
    """Of all replies of an endpoint that an evaluation uses."""
    return Bill(
        endpoint.name,
        len(replies),
        sum(reply.input_tokens for reply in replies),
        sum(reply.output_tokens for reply in replies),
        round(sum(reply.seconds for reply in replies), 3),
        sum(reply.cost for reply in replies),
        endpoint.priced,
    )


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked of an endpoint, about."""

    name: str
    requests: int
    known: int
    input_tokens: int
    output_tokens: int
    cost: float
    seconds: float
    priced: bool

    def __str__(self) -> str:
        if not self.requests:
            return f"{self.name}: all {self.known:,} replies are there already"
        money = f", about {self.cost:.2f}" if self.priced else ""
        known = f" ({self.known:,} more are there already)" if self.known else ""
        return (
            f"{self.name}: {self.requests:,} requests{known}, about {self.input_tokens:,} tokens of prompts "
            f"and {self.output_tokens:,} of replies{money}, about {duration(self.seconds)}"
        )


def estimate(endpoint: EndpointConfig, asks: Iterable[Ask], ledger: Ledger, reply_tokens: int) -> Estimate:
    """Of requests to an endpoint: replies take as many tokens and seconds as those that are known already, or
    `reply_tokens` where none is."""
    known: list[Reply] = []
    waiting: list[Ask] = []
    for ask in asks:
        reply = ledger.get(ask)
        if reply is None:
            waiting.append(ask)
        else:
            known.append(reply)
    each_tokens = min(float(reply_tokens), endpoint.max_tokens)
    each_seconds = each_tokens * SECONDS_PER_TOKEN
    if known:
        each_tokens = sum(reply.output_tokens for reply in known) / len(known)
        each_seconds = sum(reply.seconds for reply in known) / len(known)
    input_tokens = round(sum(ask.prompt_bytes for ask in waiting) / BYTES_PER_TOKEN)
    output_tokens = round(each_tokens * len(waiting))
    seconds = each_seconds * len(waiting) / endpoint.concurrency
    if endpoint.requests_per_minute:
        seconds = max(seconds, 60 * len(waiting) / endpoint.requests_per_minute)
    cost = (input_tokens * endpoint.input_price + output_tokens * endpoint.output_price) / 1e6
    return Estimate(
        endpoint.name,
        len(waiting),
        len(known),
        input_tokens,
        output_tokens,
        cost,
        max(seconds, each_seconds) if waiting else 0.0,
        endpoint.priced,
    )
