"""Requests and tokens a minute of each key, counted by `limits` in this process or in Redis."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass

from limits.aio.storage import MemoryStorage, RedisStorage
from limits.errors import ConfigurationError

from ochat_ray.errors import ConfigError
from ochat_ray.serve.access.keys import ApiKey, Holder
from ochat_ray.serve.access.windows import MINUTE_S, Window, headers

# Tokens are charged after the fact, also beyond the limit: so `limits` is given one that is never reached.
UNREACHED = 2**50
REDIS_TIMEOUT_S = 1.0
REDIS_AGAIN_S = 5.0  # a Redis that failed is left alone for so long
log = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a key stands with its limits, and which of them refuses a request, if one does."""

    key: ApiKey
    requests: Window
    tokens: Window
    refused: str | None = None
    """`requests` or `tokens`; null if the request may go on."""
    wait_s: float = 0.0
    """Seconds until a request of this key is let in again."""

    def headers(self, spent: int = 0) -> list[tuple[bytes, bytes]]:
        """OpenAI's headers; `spent` are tokens charged since."""
        found = []
        if self.key.requests_per_minute is not None:
            found += headers("requests", self.key.requests_per_minute, self.requests)
        if self.key.tokens_per_minute is not None:
            found += headers("tokens", self.key.tokens_per_minute, self.tokens.plus(spent))
        return found


class _Counts:
    """Sliding windows in one storage."""

    def __init__(self, storage: MemoryStorage | RedisStorage) -> None:
        self._storage = storage

    async def window(self, kind: str, name: str) -> Window:
        return Window(*await self._storage.get_sliding_window(_key(kind, name), MINUTE_S))

    async def add(self, kind: str, name: str, amount: int, limit: int = UNREACHED) -> bool:
        """Count, unless that would be more than the limit; in one step, whoever else counts."""
        return await self._storage.acquire_sliding_window_entry(_key(kind, name), limit, MINUTE_S, amount)


def _key(kind: str, name: str) -> str:
    return f"{kind}/{name}"


class Limiter:
    """Counts and limits. Where Redis fails, this process counts by itself until it works again.

    Raises ConfigError for a Redis URI that cannot be used.
    """

    def __init__(self, uri: str | None) -> None:
        self._own = _Counts(MemoryStorage())
        self._shared = None if uri is None else _Counts(_redis(uri))
        self._failed_at: float | None = None

    async def admit(self, holder: Holder) -> Standing:
        """Count a request if the key's limits let it in."""
        name, key = holder.name, holder.key
        if key.requests_per_minute is None and key.tokens_per_minute is None:
            return Standing(key, Window(), Window())
        counts = self._counts()
        try:
            return await _admit(counts, name, key)
        except Exception as error:
            if counts is self._own:
                raise
            self._failed(error)
            return await _admit(self._own, name, key)

    async def charge(self, holder: Holder, tokens: int) -> None:
        """Count tokens that were used."""
        counts = self._counts()
        try:
            await counts.add("tokens", holder.name, tokens)
        except Exception as error:
            if counts is self._own:
                raise
            self._failed(error)
            await self._own.add("tokens", holder.name, tokens)

    def _counts(self) -> _Counts:
        if self._shared is None:
            return self._own
        if self._failed_at is not None:
            if time.monotonic() - self._failed_at < REDIS_AGAIN_S:
                return self._own
            self._failed_at = None
        return self._shared

    def _failed(self, error: Exception) -> None:
        self._failed_at = time.monotonic()
        log.error(
            "limits_storage does not answer (%s: %s); this process counts by itself and tries again in %g s",
            type(error).__name__,
            error,
            REDIS_AGAIN_S,
        )


async def _admit(counts: _Counts, name: str, key: ApiKey) -> Standing:
    requests = tokens = Window()
    if key.tokens_per_minute is not None:
        tokens = await counts.window("tokens", name)
    if key.requests_per_minute is not None:
        requests = await counts.window("requests", name)
    if key.tokens_per_minute is not None and tokens.used >= key.tokens_per_minute:
        return Standing(key, requests, tokens, "tokens", tokens.room_s(key.tokens_per_minute))
    if key.requests_per_minute is not None:
        if not await counts.add("requests", name, 1, key.requests_per_minute):
            return Standing(key, requests, tokens, "requests", requests.room_s(key.requests_per_minute))
        requests = requests.plus(1)
    return Standing(key, requests, tokens)


def _redis(uri: str) -> RedisStorage:
    expanded = os.path.expandvars(uri)
    if "$" in expanded:
        raise ConfigError(f"limits_storage {uri}: names a variable that is not set in the environment")
    try:
        return RedisStorage(
            f"async+{expanded}",
            implementation="redispy",
            key_prefix="ochat-ray",
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )
    except (ConfigurationError, ValueError) as error:
        reason = str(error).replace(expanded, uri)  # without passwords
        raise ConfigError(
            f"limits_storage {uri}: cannot be used ({reason}); it needs ochat-ray[redis], and host:port"
        ) from None
