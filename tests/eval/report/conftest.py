"""One Chromium for the pages of this package; what a page complains about or asks for fails its test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.eval.report.page import PAGE, write_report
from ochat_ray.eval.report.schema import Report

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
Visit = Callable[..., Any]


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Visit]:
    """Open the page of a report."""
    said: list[str] = []
    asked: list[str] = []
    contexts: list[Any] = []

    def visit(report: Report, **options: Any) -> Any:
        write_report(report, tmp_path)
        contexts.append(browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / PAGE).as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []
    assert {url for url in asked if url != "data:,"} == {(tmp_path / PAGE).as_uri()}
