"""One Chromium for the pages of this package; what a page complains about or asks for fails its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.eval.report.page import PAGE, write_report
from ochat_ray.eval.report.schema import Report
from tests.chromium import chromium

Visit = Callable[..., Any]


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


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
