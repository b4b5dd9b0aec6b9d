"""The widget in a real Chromium, on a page of another origin than the endpoint."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, Response

from ochat_ray.config.web import WidgetConfig
from ochat_ray.errors import ConfigError
from ochat_ray.serve.web import handoff
from ochat_ray.serve.web.widget import widget_router
from tests.serve.conftest import listening
from tests.serve.web.conftest import Seen, Visit, poll
from tests.serve.web.fake import KEY, Fake

SECRET = "a secret"
NO_WEBHOOK = WidgetConfig()
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<link rel="icon" href="data:,"><h1>A shop</h1><script src="{server}/widget.js" {attributes}></script>'
)


@dataclass
class Receiver:
    """A webhook: answers with each of `statuses` in turn, then 200."""

    statuses: list[int] = field(default_factory=list)
    got: list[tuple[bytes, str | None]] = field(default_factory=list)

    def api(self) -> FastAPI:
        api = FastAPI()

        @api.post("/hook")
        async def hook(request: Request) -> Response:
            self.got.append((await request.body(), request.headers.get("x-ochat-signature")))
            return Response(status_code=self.statuses.pop(0) if self.statuses else 200)

        return api


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def webhook(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[WidgetConfig]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setattr(handoff, "WAIT_S", 0.01)
    with listening(receiver.api()) as url:
        yield WidgetConfig(webhook=f"{url}/hook", secret_env="HOOK_SECRET")


@pytest.fixture
def shop(visit: Visit) -> Iterator[Any]:
    """Opens a page with the widget of an endpoint, which lets the page's origin in."""
    with ExitStack() as stack:

        def open_shop(
            fake: Fake, config: WidgetConfig = NO_WEBHOOK, *, attributes: Any = None, **options: Any
        ) -> Any:
            given = {"data-model": "model-a", "data-key": KEY, **(attributes or {})}
            words = " ".join(f'{name}="{escape(value)}"' for name, value in given.items())
            page = FastAPI()
            server = ""
            page.add_api_route(
                "/", lambda: HTMLResponse(PAGE.format(server=server, attributes=words)), methods=["GET"]
            )
            origin = stack.enter_context(listening(page))
            fake.api.include_router(widget_router(config))
            fake.api.add_middleware(
                CORSMiddleware, allow_origins=[origin], allow_methods=["*"], allow_headers=["*"]
            )
            server = stack.enter_context(listening(fake.api))
            return visit(origin, **options)

        yield open_shop


def opened(page: Any) -> Any:
    page.get_by_role("button", name="Open the chat").click()
    return page


def send(page: Any, text: str) -> None:
    page.get_by_label("Write a message").fill(text)
    page.get_by_label("Write a message").press("Enter")


def said(page: Any) -> list[str]:
    """The messages, without the names that only screen readers get."""
    texts: list[str] = page.locator(".log > div > span:last-child").all_text_contents()
    return texts


def heard(page: Any, text: str) -> None:
    poll(lambda: said(page) and text in said(page)[-1], f"no answer with {text!r}")


def test_an_answer_streams_into_a_foreign_page(shop: Any, seen: Seen) -> None:
    fake = Fake(needs_key=True)
    greeting = "Hello <b>there</b>"
    page = opened(
        shop(fake, attributes={"data-greeting": greeting, "data-title": "Help", "data-system": "Brief."})
    )
    dialog = page.get_by_role("dialog", name="Help")
    assert dialog.is_visible() and said(page) == [greeting]
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.tagName") == "TEXTAREA"
    send(page, "HOLD this")
    heard(page, "Answer 1")
    assert "(end)" not in said(page)[-1] and page.get_by_role("log").get_attribute("aria-busy") == "true"
    fake.go = True
    heard(page, "(end)")
    page.get_by_role("button", name="Send").wait_for()
    assert page.get_by_role("log").get_attribute("aria-busy") is None
    assert fake.asked[-1]["messages"] == [
        {"role": "system", "content": "Brief."},
        {"role": "user", "content": "HOLD this"},
    ]
    assert fake.asked[-1]["model"] == "model-a"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.ariaLabel") == "Open the chat"
    page.reload()
    assert said(opened(page)) == [greeting, "HOLD this", "Answer 1 to: HOLD this (end)"]
    page.get_by_role("button", name="Start over").click()
    assert said(page) == [greeting]
    assert seen.said == [] and len({urlsplit(url).netloc for url in seen.asked}) == 2


def test_the_models_text_is_text(shop: Any, fake: Fake, seen: Seen) -> None:
    page = opened(shop(fake))
    send(page, "NASTY <img src=x onerror='window.hacked = 5'>")
    heard(page, "and the end")
    assert page.evaluate("window.hacked") is None
    assert page.locator(".log img, .log script, .log svg, .log a").count() == 0
    assert "<script>window.hacked = 2</script>" in said(page)[-1]
    assert not any("far.invalid" in url for url in seen.asked)


def test_an_answer_is_stopped(shop: Any, fake: Fake) -> None:
    page = opened(shop(fake))
    send(page, "HOLD this")
    heard(page, "Answer 1")
    page.get_by_role("button", name="Stop").click()
    poll(lambda: fake.left == 1, "the endpoint writes on")
    page.get_by_role("button", name="Send").wait_for()
    assert said(page)[-1].startswith("Answer 1") and "(end)" not in said(page)[-1]
    send(page, "and this")
    heard(page, "(end)")
    assert [turn["role"] for turn in fake.asked[-1]["messages"]] == ["user", "assistant", "user"]


def test_an_error_is_told_and_tried_again(shop: Any) -> None:
    fake = Fake(needs_key=True)
    page = opened(shop(fake, attributes={"data-key": "wrong", "data-model": ""}))
    send(page, "hello")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "That did not work (401): the key is <unknown>" in alert.inner_text()
    fake.needs_key = False
    page.get_by_role("button", name="Try again").click()
    heard(page, "(end)")
    assert not alert.is_visible() and said(page) == ["hello", "Answer 1 to: hello (end)"]
    assert fake.asked[-1]["model"] == "model-a"  # the first that there is
    send(page, "BREAK")
    page.get_by_role("alert").get_by_text("engine gone").wait_for()
    send(page, "go on")
    heard(page, "to: go on (end)")
    assert said(page)[2:] == ["go on", "Answer 3 to: go on (end)"]


def test_a_conversation_is_passed_on_to_a_person(
    shop: Any, fake: Fake, webhook: WidgetConfig, receiver: Receiver
) -> None:
    receiver.statuses = [503]
    page = opened(shop(fake, webhook))
    send(page, "hello")
    heard(page, "(end)")
    page.get_by_role("button", name="Talk to a person").click()
    page.get_by_label("How can we reach you").fill("me@example.com")
    page.get_by_role("button", name="Send the conversation").click()
    page.get_by_text("Your conversation was passed on to a person.").wait_for()
    [first, (body, signature)] = receiver.got
    assert first[0] == body  # the same again, with the same id
    found = json.loads(body)
    assert found.pop("id") and found.pop("time")
    assert found == {
        "conversation": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "Answer 1 to: hello (end)"},
        ],
        "contact": "me@example.com",
        "page": page.url,
    }
    assert signature == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    receiver.statuses = [400]
    page.get_by_role("button", name="Talk to a person").click()
    page.get_by_role("button", name="Send the conversation").click()
    page.get_by_text("could not be passed on").wait_for()
    assert len(receiver.got) == 3
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("Your conversation was passed on to a person.").wait_for()


def test_without_a_webhook_nobody_is_offered(shop: Any, fake: Fake) -> None:
    page = opened(shop(fake))
    send(page, "hello")
    heard(page, "(end)")
    assert not page.get_by_text("Talk to a person").is_visible()


def test_chinese_on_a_phone_in_the_dark(shop: Any, fake: Fake) -> None:
    phone = {"viewport": {"width": 375, "height": 700}, "color_scheme": "dark"}
    page = shop(fake, attributes={"data-language": "zh"}, **phone)
    page.get_by_role("button", name="\u6253\u5f00\u804a\u5929").click()
    pane = page.get_by_role("dialog")
    assert pane.bounding_box() == {"x": 0, "y": 0, "width": 375, "height": 700}
    assert page.get_by_role("button", name="\u53d1\u9001").is_visible()
    ground = pane.evaluate("(element) => getComputedStyle(element).backgroundColor")
    assert max(map(int, ground[4:-1].split(","))) < 60


@pytest.fixture
def server(webhook: WidgetConfig) -> Iterator[str]:
    api = FastAPI()
    api.include_router(widget_router(webhook))
    with listening(api) as url:
        yield url


def test_the_script_is_cached(server: str) -> None:
    first = httpx2.get(f"{server}/widget.js")
    assert first.headers["content-type"].startswith("text/javascript") and "attachShadow" in first.text
    again = httpx2.get(f"{server}/widget.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content
    assert httpx2.get(f"{server}/widget/config").json() == {"handoff": True}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"conversation": [{"role": "user", "content": "%s"}]}' % (b"x" * 300_000), 413, "longer than 256"),
        (b"{", 400, "JSON"),
        (b'{"conversation": [{"role": "root", "content": ""}]}', 400, "conversation.0.role"),
        (b'{"conversation": [], "url": "http://x"}', 400, "url"),
    ],
)
def test_a_bad_handoff_is_refused(
    server: str, receiver: Receiver, body: bytes, status: int, words: str
) -> None:
    answer = httpx2.post(f"{server}/widget/handoff", content=body)
    assert answer.status_code == status and words in answer.json()["error"]["message"]
    assert receiver.got == []


def test_a_webhook_that_stays_away_is_given_up(server: str, receiver: Receiver) -> None:
    receiver.statuses = [500] * 5
    answer = httpx2.post(f"{server}/widget/handoff", json={"conversation": []})
    assert answer.status_code == 502 and len(receiver.got) == 3
    assert "hook" not in answer.text  # whose address is not the visitor's business


def test_a_secret_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"widget\.secret_env.*NO_SUCH_SECRET"):
        widget_router(WidgetConfig(webhook="https://example.com/x", secret_env="NO_SUCH_SECRET"))
    with pytest.raises(ValueError, match=r"widget\.webhook"):
        WidgetConfig(secret_env="X")
    with pytest.raises(ValueError, match="expected a URL"):
        WidgetConfig(webhook="ftp://example.com")
