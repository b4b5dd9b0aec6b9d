"""One page: its conversation, or the reason why there is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.config import DataConfig
from ochat_ray.conversation import Conversation, Message, Rejected
from ochat_ray.data import clean
from ochat_ray.data.clean import clean_page
from tests.data.pages import answer, page_with, saved_page

HELLO = [("human", "hello"), ("gpt", answer("<p>Hi.</p>"))]


def kept(page: bytes) -> Conversation:
    found = clean_page(page, "folder/abc1234.html")
    assert isinstance(found, Conversation), found
    return found


def rejected(page: bytes, config: DataConfig | None = None) -> Rejected:
    found = clean_page(page, "folder/file.html", config or DataConfig())
    assert isinstance(found, Rejected), found
    assert found.detail and "\n" not in found.detail
    return found


def test_a_page_becomes_a_conversation() -> None:
    assert kept(saved_page(HELLO)) == Conversation(
        "abc1234",
        "folder/abc1234.html",
        (Message("user", "hello"), Message("assistant", "Hi.")),
        model="Model: GPT-4",
    )


@pytest.mark.parametrize("human", ["human", "user"])
@pytest.mark.parametrize("gpt", ["gpt", "chatgpt", "bing", "bard", "assistant"])
def test_roles_have_many_names(human: str, gpt: str) -> None:
    found = kept(saved_page([(human, "a"), (gpt, "b")]))
    assert [message.role for message in found.messages] == ["user", "assistant"]


@pytest.mark.parametrize("model", [None, ""])
def test_a_page_may_name_no_model(model: str | None) -> None:
    assert kept(saved_page(HELLO, model=model)).model is None


def test_a_page_without_id_is_named_by_its_file() -> None:
    assert kept(saved_page(HELLO, id="")).id == "abc1234"


def test_text_may_speak_of_the_script_that_holds_the_data() -> None:
    page = saved_page(HELLO).replace(b"<div></div>", b'<div>&lt;script id="__NEXT_DATA__" x&gt;{}</div>')
    assert kept(page) == kept(saved_page(HELLO))


def test_turns_are_repaired() -> None:
    page = saved_page([("gpt", "x"), ("gpt", "y"), *HELLO, ("human", "bye"), ("human", "!")])
    assert [message.content for message in kept(page).messages] == ["hello", "Hi."]


def test_an_opening_system_message_is_kept() -> None:
    page = saved_page([("system", "Be kind."), ("gpt", "x"), *HELLO])
    assert kept(page).messages[0] == Message("system", "Be kind.")
    assert [message.role for message in kept(page).messages] == ["system", "user", "assistant"]


@given(text=st.text(min_size=1).filter(str.strip))
def test_a_persons_text_is_kept_byte_for_byte(text: str) -> None:
    page = saved_page([("human", text), ("gpt", "ok")])
    found = clean_page(page, "a.html", DataConfig(blocked_words=()))
    assert isinstance(found, Conversation)
    assert found.messages[0].content == text


@pytest.mark.parametrize(
    "text", ["List<String> a;", "<p>&lt;b&gt;</p> </s>", "  x\n\n\n  y_*z*  ", "2 / 2", "\t"]
)
def test_a_persons_text_is_no_html(text: str) -> None:
    page = saved_page([("human", "a" + text), ("gpt", "ok")])
    assert kept(page).messages[0].content == "a" + text


def test_halves_of_cut_emoji_are_replaced() -> None:
    data = json.dumps(
        {
            "props": {
                "pageProps": {
                    "id": "a",
                    "content": {
                        "items": [
                            {"from": "human", "value": "cut \ud83d"},
                            {"from": "gpt", "value": "\ud83d\ude00 \ude00 fine"},
                        ]
                    },
                }
            }
        }
    )
    found = kept(page_with(data))
    assert [message.content for message in found.messages] == ["cut \ufffd", "\U0001f600 \ufffd fine"]


PAGE = saved_page(HELLO)
BAD = {
    "empty file": (b"", "no_data"),
    "blank file": (b" \n", "no_data"),
    "other page": (b"<html><body>Just a moment</body></html>", "no_data"),
    "broken off in the data": (PAGE[: PAGE.index(b"hello")], "no_data"),
    "broken off before it": (PAGE[:30], "no_data"),
    "not text": (b"\xff\xfe\x00\x80", "not_text"),
    "data in another encoding": (PAGE.replace(b"hello", "h\u00e9".encode("latin-1")), "not_text"),
    "data is no JSON": (page_with("{,}"), "bad_json"),
    "data is a list": (page_with([]), "no_content"),
    "not found": (page_with({"props": {"pageProps": {}}}), "no_content"),
    "no items": (page_with({"props": {"pageProps": {"content": {}}}}), "no_content"),
    "null value": (saved_page([("human", "a"), ("gpt", None)]), "bad_item"),
    "unknown role": (saved_page([("human", "a"), ("tool", "b")]), "bad_item"),
    "role is a list": (saved_page([(["human"], "a"), HELLO[1]]), "bad_item"),
    "item is no mapping": (page_with({"props": {"pageProps": {"content": {"items": ["a"]}}}}), "bad_item"),
    "no turns": (saved_page([]), "too_short"),
    "only a question": (saved_page(HELLO[:1]), "too_short"),
    "only a system message": (saved_page([("system", "a"), ("human", "b")]), "too_short"),
    "two answers": (saved_page([*HELLO, HELLO[1]]), "roles"),
    "system message inside": (saved_page([*HELLO, ("system", "a"), *HELLO]), "roles"),
    "blank question": (saved_page([("human", " \n"), HELLO[1]]), "empty_turn"),
    "empty answer": (saved_page([HELLO[0], ("gpt", answer(""))]), "empty_turn"),
    "blocked word": (saved_page([*HELLO, ("human", "By OpenAI?"), HELLO[1]]), "blocked_word"),
    "elements nested without end": (saved_page([HELLO[0], ("gpt", "<p>" + "<b>" * 10_000)]), "error"),
}  # fmt: skip


@pytest.mark.parametrize(("page", "reason"), BAD.values(), ids=BAD.keys())
def test_reasons(page: bytes, reason: str) -> None:
    assert rejected(page).reason == reason


def test_a_reject_keeps_what_was_understood() -> None:
    early = rejected(page_with("{,}"))
    assert (early.id, early.source, early.raw, early.messages) == (
        "file",
        "folder/file.html",
        page_with("{,}"),
        (),
    )
    late = rejected(saved_page([*HELLO, HELLO[1]]))
    assert (late.id, late.raw, len(late.messages)) == ("abc1234", None, 3)


def test_messages_can_be_demanded() -> None:
    found = rejected(saved_page(HELLO), DataConfig(min_messages=4))
    assert "2 messages" in found.detail and "data.min_messages = 4" in found.detail


def test_our_own_mistake_costs_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(value: str) -> str:
        raise KeyError(value)

    monkeypatch.setattr(clean, "to_markdown", broken)
    found = rejected(saved_page(HELLO))
    assert (found.reason, found.raw) == ("error", saved_page(HELLO))
    assert "KeyError" in found.detail


@given(page=st.binary() | st.binary().map(lambda junk: PAGE[:200] + junk + PAGE[200:]))
def test_no_page_raises(page: bytes) -> None:
    assert clean_page(page, "a.html").source == "a.html"
