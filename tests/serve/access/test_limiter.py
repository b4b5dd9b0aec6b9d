"""Counts of requests and tokens, in this process and in Redis."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import subprocess
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import Redis

from ochat_ray.errors import ConfigError
from ochat_ray.serve.access import limiter
from ochat_ray.serve.access.keys import ApiKey, Holder
from ochat_ray.serve.access.limiter import Limiter
from tests.ports import free_port
from tests.serve.access.conftest import wait_for


def holder(name: str = "alice", **limits: int) -> Holder:
    return Holder(name, ApiKey(sha256="a" * 64, **limits))


@contextmanager
def real_redis() -> Iterator[str]:
    port = free_port()
    words = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", "/tmp"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture
def fake_redis(monkeypatch: pytest.MonkeyPatch) -> str:
    """A Redis of this process, which runs the very scripts."""
    server = FakeServer()
    monkeypatch.setattr(Redis, "from_url", lambda *_, **__: FakeAsyncRedis(server=server))
    return "redis://127.0.0.1:6379/0"


@pytest.fixture(params=["own", "fake", "real"])
def uri(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[str | None]:
    if request.param == "own":
        yield None
    elif request.param == "fake":
        yield request.getfixturevalue("fake_redis")
    elif shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    else:
        with real_redis() as uri:
            yield uri
    assert "does not answer" not in caplog.text


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_requests_are_let_in_up_to_the_limit(uri: str | None) -> None:
    async def work() -> None:
        counts = Limiter(uri)
        alice, bob = holder(requests_per_minute=3), holder("bob", requests_per_minute=3)
        standings = [await counts.admit(alice) for _ in range(5)]
        assert [one.refused for one in standings] == [None, None, None, "requests", "requests"]
        assert [one.requests.used for one in standings] == [1, 2, 3, 3, 3]
        assert 0 < standings[-1].wait_s <= 120
        assert (await counts.admit(bob)).refused is None

    run(work())


def test_many_at_once_are_not_let_in_beyond_the_limit(uri: str | None) -> None:
    async def work() -> None:
        counts = Limiter(uri)
        alice = holder(requests_per_minute=10)
        standings = await asyncio.gather(*(counts.admit(alice) for _ in range(40)))
        assert sum(one.refused is None for one in standings) == 10

    run(work())


def test_tokens_are_charged_beyond_the_limit_and_then_refuse(uri: str | None) -> None:
    async def work() -> None:
        counts = Limiter(uri)
        alice = holder(tokens_per_minute=100, requests_per_minute=50)
        await counts.charge(alice, 99)
        assert (await counts.admit(alice)).refused is None
        await counts.charge(alice, 5000)
        standing = await counts.admit(alice)
        assert standing.refused == "tokens" and standing.tokens.used == 5099
        assert 60 < standing.wait_s <= 120
        assert standing.requests.used == 1  # the refused one is not counted
        said = dict(standing.headers())
        assert said[b"x-ratelimit-remaining-tokens"] == b"0"
        assert said[b"x-ratelimit-remaining-requests"] == b"49"
        raised = holder(tokens_per_minute=10_000)
        assert (await counts.admit(raised)).tokens.used == 5099

    run(work())


def test_no_limits_count_nothing() -> None:
    async def work() -> None:
        standing = await Limiter(None).admit(holder())
        assert standing.refused is None and standing.headers() == []

    run(work())


def test_replicas_share_a_redis(fake_redis: str) -> None:
    async def work() -> None:
        one, other = Limiter(fake_redis), Limiter(fake_redis)
        alice = holder(requests_per_minute=2, tokens_per_minute=100)
        await one.admit(alice)
        await one.charge(alice, 60)
        standing = await other.admit(alice)
        assert standing.requests.used == 2 and standing.tokens.used == 60
        assert (await one.admit(alice)).refused == "requests"

    run(work())


def test_a_redis_that_is_gone_leaves_each_to_count_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        counts = Limiter(f"redis://:secret@127.0.0.1:{free_port()}/0")
        alice = holder(requests_per_minute=2, tokens_per_minute=100)
        await counts.charge(alice, 60)
        with caplog.at_level(logging.ERROR, "ray.serve"):
            standings = [await counts.admit(alice) for _ in range(3)]
        assert [one.refused for one in standings] == [None, None, "requests"]
        assert standings[0].tokens.used == 60

    run(work())
    assert len(caplog.records) == 1 and "limits_storage does not answer" in caplog.text
    assert "secret" not in caplog.text


def test_a_redis_that_is_back_counts_again(fake_redis: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "REDIS_AGAIN_S", 0.0)

    async def work() -> None:
        counts = Limiter(fake_redis)
        alice = holder(requests_per_minute=5)
        await counts.admit(alice)
        counts._failed(RuntimeError("gone"))
        assert (await counts.admit(alice)).requests.used == 2

    run(work())


@pytest.mark.parametrize(
    "uri", ["redis://:$NO_SUCH_VARIABLE@127.0.0.1/0", "redis://127.0.0.1:port/0", "redis://host/0"]
)
def test_uris_that_cannot_be_used(uri: str) -> None:
    with pytest.raises(ConfigError, match="limits_storage redis://"):
        Limiter(uri)


def test_passwords_of_the_environment_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHAT_TEST_PASSWORD", "secret")
    for place in ("127.0.0.1", "127.0.0.1:port", "127.0.0.1:0:0"):
        with pytest.raises(ConfigError, match="limits_storage") as told:
            Limiter(f"redis://:$OCHAT_TEST_PASSWORD@{place}/0")
        assert "secret" not in str(told.value)


def test_passwords_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setenv("OCHAT_TEST_PASSWORD", "secret")
    monkeypatch.setattr(Redis, "from_url", lambda uri, **_: opened.append(uri) or FakeAsyncRedis())
    Limiter("redis://:$OCHAT_TEST_PASSWORD@127.0.0.1:6379/0")
    assert opened == ["redis://:secret@127.0.0.1:6379/0"]
