"""The chat page as an application of Ray Serve, under its route."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ray import serve
from ray.serve.config import HTTPOptions

from ochat_ray.config.web import ChatPageConfig
from ochat_ray.serve.target import end_serve
from ochat_ray.serve.web.deployment import NAME, chat_app
from tests.ports import free_port
from tests.serve.web.conftest import Seen, Visit
from tests.serve.web.fake import Fake
from tests.serve.web.test_page import bots, idle, send

pytest.importorskip("gradio", reason="gradio is not installed")
pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def url(endpoint: str) -> Iterator[str]:
    port = free_port()
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
    try:
        serve.run(chat_app(ChatPageConfig(), endpoint, None), name=NAME, route_prefix="/chat")
        yield f"http://127.0.0.1:{port}/chat"
    finally:
        end_serve(5.0)


def test_an_answer_streams_through_ray_serve(visit: Visit, url: str, fake: Fake, seen: Seen) -> None:
    page = visit(url)
    page.locator("html[data-ochat=ready]").wait_for()
    send(page, "HOLD this")
    bots(page).get_by_text("Answer 1").wait_for()
    assert "(end)" not in bots(page).inner_text()
    fake.go = True
    bots(page).get_by_text("(end)").wait_for()
    idle(page)
    fake.go = False
    send(page, "HOLD that")
    bots(page).nth(1).get_by_text("Answer 2").wait_for()
    page.locator("#ochat-stop").click()
    idle(page)
    assert seen.said == [] and all(asked.startswith(url) for asked in seen.asked)
    page.context.close()
