"""The chat page in a real Chromium, over an endpoint that says what it is told."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from ochat_ray.config.web import ChatPageConfig
from ochat_ray.data.read.documents import Document, documents
from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.source import Source
from ochat_ray.data.read.units import whole
from ochat_ray.serve.web import application
from ochat_ray.serve.web.application import chat_asgi
from ochat_ray.serve.web.shell import MAX_BODY
from tests.serve.conftest import listening
from tests.serve.web.conftest import Seen, Visit, chat_page, poll
from tests.serve.web.fake import KEY, Fake

pytest.importorskip("gradio", reason="gradio is not installed")


@pytest.fixture(scope="module")
def feedback(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback") / "folder"


@pytest.fixture(scope="module")
def page_url(endpoint: str, feedback: Path) -> Iterator[str]:
    with chat_page(endpoint, feedback=str(feedback)) as url:
        yield url


@pytest.fixture
def url(page_url: str, fake: Fake, feedback: Path) -> str:
    """The page, over an endpoint and with a folder of feedback that are new for each test."""
    assert fake.asked == []
    shutil.rmtree(feedback, ignore_errors=True)
    return page_url


# Writes into the text box as soon as there is one.
EARLY = """new MutationObserver((_, observer) => {
  const box = document.querySelector("#ochat-message textarea");
  if (!box) return;
  observer.disconnect();
  box.value = "written early";
  box.dispatchEvent(new Event("input", { bubbles: true }));
}).observe(document, { childList: true, subtree: true })"""


@pytest.fixture
def visit(visit: Visit) -> Visit:
    """Open a page and wait until its parts listen."""

    def ready(url: str, **options: Any) -> Any:
        page = visit(url, **options)
        page.locator("html[data-ochat=ready]").wait_for()
        return page

    return ready


def box(page: Any) -> Any:
    return page.locator("#ochat-message textarea")


def send(page: Any, text: str) -> None:
    box(page).fill(text)
    box(page).press("Enter")


def ask(page: Any, text: str, wait: str = "(end)") -> None:
    """Ask, and wait until the answer is whole."""
    count = bots(page).count()
    send(page, text)
    bots(page).nth(count).get_by_text(wait).first.wait_for()
    idle(page)


def idle(page: Any) -> None:
    page.locator("#ochat-send").wait_for()


def bots(page: Any) -> Any:
    return page.locator("#ochat-chat .message.bot")


def users(page: Any) -> Any:
    return page.locator("#ochat-chat .message.user")


def chats(page: Any) -> Any:
    return page.locator("#ochat-chats label")


def stored(page: Any) -> list[dict[str, Any]]:
    """The conversations in the browser."""
    texts = page.evaluate(
        "() => { window.dispatchEvent(new Event('pagehide')); return Object.entries(localStorage)"
        ".filter(([name]) => name.startsWith('ochat.chat.')).map(([, text]) => text) }"
    )
    return [json.loads(text) for text in texts]


def set_system(page: Any, text: str) -> None:
    """Open the settings and write the system prompt, until the page has it: parts in a folded box are made
    when it opens, and do not hear at once."""
    page.get_by_text("Settings", exact=True).click()
    field = page.locator("#ochat-system textarea")
    kept = "() => JSON.parse(localStorage.getItem('ochat.settings') ?? '{}').system"

    def written() -> bool:
        field.fill(text)
        return bool(page.evaluate(kept) == text)

    poll(written, "the system prompt is not kept")


def read_by_prepare(file: Path) -> list[Source]:
    inputs = find_inputs([str(file)])
    found = [read.found for one in inputs.files for read in documents(inputs.folder, whole(one))]
    assert all(isinstance(one, Document) for one in found)
    return [one.understand() for one in found if isinstance(one, Document)]


def test_an_answer_is_seen_before_it_is_whole(visit: Visit, url: str, fake: Fake, seen: Seen) -> None:
    page = visit(url)
    send(page, "HOLD this")
    bots(page).get_by_text("Answer 1").wait_for()
    assert page.locator("#ochat-stop").is_visible() and "(end)" not in bots(page).inner_text()
    fake.go = True
    bots(page).get_by_text("(end)").wait_for()
    idle(page)
    assert seen.said == []


def test_what_is_written_before_the_page_is_ready_stays(visit: Visit, url: str) -> None:
    page = visit(url, script=EARLY)
    assert box(page).input_value() == "written early"
    box(page).press("Enter")
    bots(page).get_by_text("to: written early (end)").wait_for()


def test_markdown_code_tables_and_tex_and_no_other_host(visit: Visit, url: str, seen: Seen) -> None:
    page = visit(url)
    ask(page, "RICH", "The sum is")
    answer = bots(page)
    assert answer.locator("strong").inner_text() == "bold"
    assert answer.locator("td").all_inner_texts() == ["one", "1"]
    answer.locator("pre .token").first.wait_for()
    answer.locator(".katex").first.wait_for()
    for button in ("#ochat-dark", "#ochat-new", "#ochat-export"):
        page.locator(button).click()
    hosts = {urlsplit(asked).netloc for asked in seen.asked if not asked.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(url).netloc} and seen.blocked == [] and seen.said == []


def test_an_answer_is_stopped(visit: Visit, url: str, fake: Fake) -> None:
    page = visit(url)
    send(page, "HOLD this")
    bots(page).get_by_text("Answer 1").wait_for()
    page.locator("#ochat-stop").click()
    idle(page)
    poll(lambda: fake.left == 1, "the endpoint writes on")
    ask(page, "and this")
    said = [message["content"] for message in fake.asked[-1]["messages"]]
    assert said[0] == "HOLD this" and said[1].startswith("Answer 1") and said[2] == "and this"


def test_an_error_is_told_and_the_conversation_goes_on(visit: Visit, url: str, fake: Fake) -> None:
    page = visit(url)
    ask(page, "hello")
    error = page.locator("#ochat-error [role=alert]")
    for status, words in (401, "not accepted"), (429, "Too many"), (500, "failed"), (400, "refused"):
        send(page, f"FAIL {status}")
        error.get_by_text(f"{status}: it <b>failed</b>").wait_for()
        idle(page)
        assert words in error.inner_text()
        assert box(page).input_value() == f"FAIL {status}" and users(page).count() == 1
    ask(page, "again")
    assert not error.is_visible()
    assert [message["role"] for message in fake.asked[-1]["messages"]] == ["user", "assistant", "user"]


def test_no_server_and_an_answer_that_breaks_off(visit: Visit, url: str) -> None:
    page = visit(url)
    send(page, "BREAK")
    page.get_by_text("The answer broke off. (engine gone)").wait_for()
    assert "Answer 1" in bots(page).inner_text()  # what there is of it stays
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with chat_page(f"http://127.0.0.1:{closed.getsockname()[1]}/v1") as lonely:
            page = visit(lonely)
            page.get_by_text("The server does not answer").wait_for()
            send(page, "hello")
            poll(lambda: box(page).input_value() == "hello", "the question is lost")
            page.context.close()


def test_conversations_survive_a_reload_and_stay_apart(visit: Visit, url: str, fake: Fake) -> None:
    page = visit(url)
    ask(page, "first question")
    page.locator("#ochat-new").click()
    poll(lambda: users(page).count() == 0, "the new conversation is not empty")
    send(page, "second HOLD")
    bots(page).get_by_text("Answer 2").wait_for()
    # Away while the answer comes: nothing of it gets into the other one.
    chats(page).get_by_text("first question").click()
    poll(lambda: "first question" in users(page).first.inner_text(), "the first is not shown")
    poll(lambda: fake.left == 1, "the endpoint writes on")
    page.reload()
    users(page).get_by_text("second HOLD").wait_for()  # the newest
    both = ["second HOLD", "first question"]
    poll(lambda: chats(page).all_inner_texts() == both, "not both are listed")
    chats(page).get_by_text("first question").click()
    bots(page).get_by_text("Answer 1").wait_for()
    poll(lambda: users(page).count() == bots(page).count() == 1, "more than the first is shown")
    beside = visit(url, beside=page)
    poll(lambda: chats(beside).count() == 2, "another tab does not know them")
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#ochat-delete").click()
    poll(lambda: chats(page).all_inner_texts() == ["second HOLD"], "it is still there")
    assert [one["title"] for one in stored(page)] == ["second HOLD"]


def test_the_models_text_is_never_run(visit: Visit, url: str, seen: Seen) -> None:
    page = visit(url)
    ask(page, "NASTY", "and the end")
    ask(page, "NASTY in the question <img src=x onerror='window.hacked = 5'>", "and the end")
    page.reload()
    bots(page).last.get_by_text("and the end").wait_for()
    assert page.evaluate("window.hacked") is None
    assert page.locator("#ochat-chat script").count() == 0
    for link in bots(page).locator("a").all():
        link.click()
    assert page.evaluate("window.hacked") is None
    assert not any("far.invalid" in asked for asked in seen.asked)
    assert any("far.invalid" in asked for asked in seen.blocked)


def test_an_answer_is_made_again(visit: Visit, url: str, fake: Fake) -> None:
    page = visit(url)
    ask(page, "hello")
    page.get_by_label("Retry").click()
    bots(page).get_by_text("Answer 2").wait_for()
    idle(page)
    assert bots(page).count() == 1 and fake.asked[0]["messages"] == fake.asked[1]["messages"]


def test_a_past_question_is_edited(visit: Visit, url: str, fake: Fake) -> None:
    page = visit(url)
    ask(page, "one")
    ask(page, "two")
    page.get_by_label("Edit").first.click()
    page.locator("#ochat-chat textarea").fill("uno")
    page.get_by_label("Submit").click()
    bots(page).get_by_text("to: uno (end)").wait_for()
    idle(page)
    assert users(page).count() == bots(page).count() == 1
    assert fake.asked[-1]["messages"] == [{"role": "user", "content": "uno"}]


def test_a_failed_edit_brings_the_conversation_back(visit: Visit, url: str) -> None:
    page = visit(url)
    ask(page, "one")
    ask(page, "two")
    page.get_by_label("Edit").first.click()
    page.locator("#ochat-chat textarea").fill("FAIL 500")
    page.get_by_label("Submit").click()
    page.locator("#ochat-error [role=alert]").wait_for()
    poll(lambda: users(page).all_inner_texts() == ["one", "two"], "the conversation is lost")
    assert bots(page).count() == 2


def test_prepare_reads_an_export(visit: Visit, url: str, tmp_path: Path) -> None:
    page = visit(url)
    set_system(page, "Be brief.")
    page.locator("#ochat-condition input").fill("Code")
    page.locator("#ochat-condition input").press("Enter")
    ask(page, "  indented <div>")
    ask(page, "RICH", "The sum is")
    with page.expect_download() as download:
        page.locator("#ochat-export").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    [source] = read_by_prepare(file)
    assert [turn.role for turn in source.turns] == ["system", *["user", "assistant"] * 2]
    assert source.turns[0].value == "Be brief." and source.turns[1].value == "  indented <div>"
    assert source.turns[4].value.endswith("c^2$.\n") and not any(turn.html for turn in source.turns)
    assert (source.model, source.condition) == ("model-a", "Code") and source.id


def test_prepare_reads_feedback(visit: Visit, url: str, feedback: Path) -> None:
    page = visit(url)
    ask(page, "one")
    ask(page, "two")
    page.get_by_label("Like", exact=True).first.click()
    file = feedback / "feedback.jsonl"
    poll(file.is_file, "nothing was written")
    page.get_by_label("Dislike", exact=True).last.click()
    poll(lambda: file.read_text().count("\n") == 2, "the second is missing")
    liked, disliked = read_by_prepare(file)
    assert [(turn.value.partition(":")[0], turn.weight) for turn in liked.turns] == [
        ("one", 1),
        ("Answer 1 to", 1),
    ]
    assert [turn.weight for turn in disliked.turns if turn.role == "assistant"] == [0, 0]
    assert liked.model == "model-a"
    assert [json.loads(line)["liked"] for line in file.read_text().splitlines()] == [True, False]


def test_a_key_is_needed_and_kept_only_if_wished(visit: Visit, url: str, fake: Fake, feedback: Path) -> None:
    fake.needs_key = True
    page = visit(url)
    page.get_by_text("key was not accepted").wait_for()
    key = page.locator("#ochat-key input")
    assert key.get_attribute("type") == "password"
    key.fill(KEY)
    key.press("Enter")
    poll(lambda: page.locator("#ochat-model input").input_value() == "model-a", "no models are listed")
    ask(page, "hello")
    assert fake.keys[-1] == KEY
    assert KEY not in page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    key.fill("wrong")
    page.get_by_label("Like", exact=True).click()
    page.get_by_text("key was not accepted").wait_for()
    assert not feedback.exists()
    key.fill(KEY)
    page.locator("#ochat-remember input").check()
    page.reload()
    poll(lambda: key.input_value() == KEY, "the key is forgotten")
    page.locator("#ochat-remember input").uncheck()
    poll(lambda: KEY not in page.evaluate("JSON.stringify(localStorage)"), "the key is kept")


def test_settings_reach_the_endpoint_and_stay(visit: Visit, url: str, fake: Fake) -> None:
    page = visit(url)
    poll(lambda: page.locator("#ochat-model input").input_value() == "model-a", "no models are listed")
    ask(page, "plain")
    assert fake.asked[-1] == {
        "model": "model-a",
        "messages": [{"role": "user", "content": "plain"}],
        "stream": True,
        "temperature": 0.7,
        "top_p": 1,
    }
    page.locator("#ochat-model input").click()
    page.get_by_role("option", name="model-b").click()
    set_system(page, "Be brief.")
    page.get_by_label("number input for Temperature").fill("0")
    page.get_by_label("Most tokens of an answer").fill("50")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Stop at").fill("END\n##")
    page.get_by_label("Stop at").blur()
    ask(page, "set")
    sent = fake.asked[-1]
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert {name: sent.get(name) for name in ("model", "temperature", "max_tokens", "seed", "stop")} == {
        "model": "model-b",
        "temperature": 0,
        "max_tokens": 50,
        "seed": 7,
        "stop": ["END", "##"],
    }
    page.reload()
    poll(lambda: page.locator("#ochat-model input").input_value() == "model-b", "the model is forgotten")
    ask(page, "once more")
    assert fake.asked[-1]["seed"] == 7 and fake.asked[-1]["messages"][0]["content"] == "Be brief."


def test_chinese(visit: Visit, url: str) -> None:
    page = visit(url, locale="zh-CN")
    page.get_by_text("\u65b0\u5bf9\u8bdd").wait_for()
    page.get_by_text("\u6709\u4ec0\u4e48\u53ef\u4ee5\u5e2e\u60a8").wait_for()
    assert box(page).get_attribute("placeholder") == "\u8f93\u5165\u6d88\u606f"
    send(page, "FAIL 429")
    page.get_by_text("\u8bf7\u6c42\u8fc7\u591a").wait_for()
    assert "Send" not in page.locator("body").inner_text()


def test_phone_and_dark(visit: Visit, url: str) -> None:
    page = visit(url, viewport={"width": 375, "height": 700}, color_scheme="dark", has_touch=True)
    ask(page, "hello")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.locator("#ochat-send").click(trial=True)  # nothing lies over it
    ground = "getComputedStyle(document.body).backgroundColor"
    assert max(map(int, page.evaluate(ground)[4:-1].split(","))) < 60
    page.locator("#ochat-side .toggle-button").click()
    page.locator("#ochat-dark").click()
    for when in ("before", "after"):
        poll(lambda: min(map(int, page.evaluate(ground)[4:-1].split(","))) > 200, f"dark {when} a reload")
        page.reload()


def test_only_what_the_page_needs_is_answered(url: str) -> None:
    for path in ("upload", "info", "openapi.json", "file=/etc/passwd", "proxy=http://127.0.0.1/", "runs"):
        assert httpx2.get(f"{url}/gradio_api/{path}").status_code == 404
        assert httpx2.post(f"{url}/gradio_api/{path}").status_code == 404
    assert httpx2.get(f"{url}/docs").status_code == httpx2.get(f"{url}/login").status_code == 404
    assert httpx2.get(url, follow_redirects=False).headers["location"] == "/chat/"
    page = httpx2.get(f"{url}/")
    assert page.status_code == 200 and "'nonce-" in page.headers["content-security-policy"]
    assert httpx2.get(f"{url}/assets/../../../x").status_code == 404
    too_long = httpx2.post(f"{url}/gradio_api/queue/join", content=b" " * (MAX_BODY + 1))
    assert too_long.status_code == 413


def test_without_gradio_the_page_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "find_spec", lambda _: None)
    with listening(chat_asgi(ChatPageConfig(), "http://127.0.0.1:1/v1")) as url:
        page = httpx2.get(url)
    assert page.status_code == 501 and "pip install 'ochat-ray[ui]'" in page.text
    assert "http:" not in page.text and "https:" not in page.text


def test_the_real_endpoint_takes_what_the_page_sends(visit: Visit, local_url: str) -> None:
    with chat_page(f"{local_url}/v1") as url:
        page = visit(url)
        poll(lambda: page.locator("#ochat-model input").input_value() == "openchat", "no models are listed")
        page.get_by_text("Settings", exact=True).click()
        for name, value in (
            ("System prompt", "Be brief."),
            ("Most tokens of an answer", "8"),
            ("Seed", "7"),
            ("Stop at", "END"),
            ("number input for Presence", "0.5"),
        ):
            page.get_by_label(name).fill(value)
            page.get_by_label(name).blur()
        send(page, "hello")
        poll(lambda: len(stored(page)[0]["messages"]) == 2 if stored(page) else False, "no answer")
        idle(page)
        assert not page.locator("#ochat-error").is_visible()
        page.context.close()
