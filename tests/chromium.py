"""A real headless Chromium for tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser for the length of the block, for one thread has one Playwright at a time; without one the
    test skips, saying so."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """Pages of a browser, with what they complain about and what they ask for."""

    def __init__(self, browser: Any, width: int, height: int) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self._browser = browser
        self._viewport = {"width": width, "height": height}
        self._contexts: list[Any] = []

    def open(self, url: str, **options: Any) -> Any:
        """A page in a context of its own."""
        context = self._browser.new_context(**{"viewport": self._viewport, **options})
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(url)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()
