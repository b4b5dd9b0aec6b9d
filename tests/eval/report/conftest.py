"""One Chromium for the pages of this package; what a page complains about or asks for fails its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.eval.report.page import PAGE, write_report
from ochat_ray.eval.report.schema import Report
from tests.chromium import Watched, chromium

Visit = Callable[..., Any]


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Visit]:
    """Open the page of a report."""
    watched = Watched(browser, 1200, 900)

    def visit(report: Report, **options: Any) -> Any:
        write_report(report, tmp_path)
        return watched.open((tmp_path / PAGE).as_uri(), **options)

    yield visit
    watched.close()
    assert watched.said == []
    assert {url for url in watched.asked if url != "data:,"} == {(tmp_path / PAGE).as_uri()}
