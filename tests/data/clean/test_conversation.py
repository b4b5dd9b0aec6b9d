"""One page: its conversation, or the reason why there is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.config import FilterConfig
from ochat_ray.conversation import Conversation, Message, Rejected
from ochat_ray.data.clean import conversation as module
from ochat_ray.data.clean.conversation import clean, clean_page
from ochat_ray.data.filters import Questions
from ochat_ray.data.read.documents import Document
from tests.data.pages import answer, page_with, saved_page

HELLO = [("human", "hello"), ("gpt", answer("<p>Hi.</p>"))]


def kept(page: bytes) -> Conversation:
    found = clean_page(page, "folder/abc1234.html")
    assert isinstance(found, Conversation), found
    return found


NO_WORDS = FilterConfig.model_validate({"blocked_words": {"words": ()}})


def rejected(page: bytes, config: FilterConfig | None = None) -> Rejected:
    found = clean_page(page, "folder/file.html", config or FilterConfig())
    assert isinstance(found, Rejected), found
    assert found.detail and "\n" not in found.detail
    return found


def test_a_page_becomes_a_conversation() -> None:
    assert kept(saved_page(HELLO)) == Conversation(
        "abc1234",
        "folder/abc1234.html",
        (Message("user", "hello"), Message("assistant", "Hi.")),
        model="Model: GPT-4",
        language="und",
    )


@pytest.mark.parametrize(
    "text", ['```html\n<div class="x">\n  <p>hi</p>\n</div>\n```', "Use `List<String>` and <br> & **bold**."]
)
def test_an_answer_of_a_page_that_is_text_stays_as_it_is(text: str) -> None:
    assert kept(saved_page([("human", "a"), ("gpt", text)])).messages[1].content == text


def record(*turns: tuple[str, str], **facts: str) -> Conversation | Rejected:
    items = [{"role": role, "content": text} for role, text in turns]
    return clean(
        Document("x.jsonl:7", {"messages": items, **facts}, page=False), NO_WORDS, Questions.NONE
    ).record


def test_a_record_becomes_a_conversation() -> None:
    found = record(("system", "1"), ("user", "<p>2</p>"), ("assistant", "&amp; **3**"), id="r", model="m")
    assert found == Conversation(
        "r",
        "x.jsonl:7",
        (Message("system", "1"), Message("user", "<p>2</p>"), Message("assistant", "&amp; **3**")),
        model="m",
        language="und",
    )


def test_a_record_without_an_id_is_named_by_its_text() -> None:
    one, same, other = (record(("user", text), ("assistant", "x")) for text in ("a", "a", "b"))
    assert one.id == same.id != other.id
    assert one.id.startswith("text-")


def test_a_record_that_is_turned_away_is_kept_as_json() -> None:
    found = record(("user", "a"), ("tool", "b"))
    assert isinstance(found, Rejected)
    assert (found.id, found.source, found.reason) == ("x.jsonl:7", "x.jsonl:7", "bad_item")
    assert found.raw is not None and json.loads(found.raw)["messages"][1]["role"] == "tool"


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
    found = clean_page(page, "a.html", NO_WORDS)
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
    "empty answer": (saved_page([HELLO[0], ("gpt", answer(""))]), "empty_answer"),
    "blocked word": (saved_page([*HELLO, ("human", "By OpenAI?"), HELLO[1]]), "blocked_word"),
    "elements nested without end": (saved_page([HELLO[0], ("gpt", "<p>" + "<b>" * 10_000)]), "empty_answer"),
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
    found = rejected(saved_page(HELLO), FilterConfig.model_validate({"length": {"min_messages": 4}}))
    assert "2 messages" in found.detail and "filters.length.min_messages = 4" in found.detail


def test_people_may_say_nothing_but_not_at_first() -> None:
    page = saved_page([("human", " \n"), ("gpt", "What?"), *HELLO, ("human", ""), HELLO[1]])
    assert [message.content for message in kept(page).messages] == ["hello", "Hi.", "", "Hi."]
    assert rejected(saved_page([("human", " \n"), HELLO[1]])).reason == "too_short"


def test_our_own_mistake_costs_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(value: str) -> str:
        raise KeyError(value)

    monkeypatch.setattr(module, "to_markdown", broken)
    found = rejected(saved_page(HELLO))
    assert (found.reason, found.raw) == ("error", saved_page(HELLO))
    assert "KeyError" in found.detail


@given(page=st.binary() | st.binary().map(lambda junk: PAGE[:200] + junk + PAGE[200:]))
def test_no_page_raises(page: bytes) -> None:
    assert clean_page(page, "a.html").source == "a.html"
