"""A scripted endpoint, the chat page over it, and a browser that tells what it asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chromium import chromium
from tests.listening import listening
from tests.serve.web.fake import Fake

PATIENCE_S = 60.0


def poll(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass
class Seen:
    """What pages of a test asked for, over the network or in vain, and what went wrong in them."""

    asked: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


Visit = Callable[..., Any]


# Not longer than these tests: one thread has one Playwright at a time.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def visit(browser: Any, seen: Seen) -> Iterator[Visit]:
    """Open a URL in a context of its own, or in that of `beside`; `script` runs before those of the page."""
    contexts: list[Any] = []

    def visit(url: str, *, beside: Any = None, script: str = "", **options: Any) -> Any:
        if beside is None:
            contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        page = (beside.context if beside else contexts[-1]).new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("pageerror", lambda error: seen.said.append(str(error)))
        page.on("requestfinished", lambda request: seen.asked.append(request.url))
        page.on("requestfailed", lambda request: _failed(seen, request))
        page.add_init_script(script)
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()


def _failed(seen: Seen, request: Any) -> None:
    (seen.blocked if request.failure == "csp" else seen.asked).append(request.url)


class Switch:
    """An endpoint that is another one for each test."""

    def __init__(self) -> None:
        self.fake = Fake()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.fake.api(scope, receive, send)


@pytest.fixture(scope="session")
def switch() -> Switch:
    return Switch()


@pytest.fixture
def fake(switch: Switch) -> Fake:
    switch.fake = Fake()
    return switch.fake


@pytest.fixture(scope="session")
def endpoint(switch: Switch) -> Iterator[str]:
    """The base URL of the endpoint that `fake` is."""
    with listening(switch) as url:
        yield f"{url}/v1"


def under(app: Any, prefix: str) -> Any:
    """An application as Ray Serve runs it under a route prefix."""

    async def run(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "root_path": prefix}
        await app(scope, receive, send)

    return run


@contextmanager
def chat_page(base_url: str, **config: Any) -> Iterator[str]:
    """The chat page over an endpoint; gives its address."""
    from ochat_ray.config.web import ChatPageConfig
    from ochat_ray.serve.web.application import chat_asgi

    with listening(under(chat_asgi(ChatPageConfig(**config), base_url), "/chat")) as url:
        yield f"{url}/chat"
