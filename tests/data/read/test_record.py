"""Records of other programs' exports: what they say, and why what cannot be used cannot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.data.read.errors import SourceError
from ochat_ray.data.read.record import read_record
from ochat_ray.data.read.source import Source, Turn
from tests.data.pages import answer

HTML = answer("<p>Hi.</p>")


def test_sharegpt_exports() -> None:
    turns = [
        {"from": "human", "value": "hi"},
        {"from": "gpt", "value": HTML},
        {"from": "gpt", "value": "**a**"},
    ]
    assert read_record({"id": "x_0", "conversations": turns}) == Source(
        "x_0", (Turn("user", "hi"), Turn("assistant", HTML, html=True), Turn("assistant", "**a**"))
    )


@pytest.mark.parametrize(
    "value", [HTML, "2 / 2" + HTML, "  <p>a</p>", "<ol><li>a</li></ol>", '<table class="x">']
)
def test_values_that_are_html(value: str) -> None:
    found = read_record({"conversations": [{"from": "gpt", "value": value}]})
    assert found.turns[0].html


@pytest.mark.parametrize(
    "value",
    [
        "Use `<div>`.",
        "```html\n<div>\n```",
        "a < b",
        "<3",
        "<b>bold</b> word",
        "",
        "Text <p>para</p>",
        "<divx>",
    ],
)
def test_values_that_are_markdown(value: str) -> None:
    found = read_record({"conversations": [{"from": "gpt", "value": value}]})
    assert not found.turns[0].html


def test_peoples_text_and_openai_messages_are_never_html() -> None:
    found = read_record({"conversations": [{"from": "human", "value": HTML}]})
    assert not found.turns[0].html
    found = read_record({"messages": [{"role": "assistant", "content": HTML}]})
    assert not found.turns[0].html


def test_openai_messages() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    turns = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": parts}]
    found = read_record(
        {
            "conversation_id": "c",
            "model": "gpt-4",
            "messages": [*turns, {"role": "assistant", "content": "x"}],
        }
    )
    assert found == Source(
        "c", (Turn("system", "Be kind."), Turn("user", "ab"), Turn("assistant", "x")), model="gpt-4"
    )


def test_openchat_items() -> None:
    items = [
        {"role": "user", "content": "a", "weight": 0.0},
        {"role": "assistant", "content": "b", "weight": 0.5},
    ]
    found = read_record({"items": items, "condition": "GPT3", "system": "Be brief."})
    assert found.condition == "GPT3"
    assert found.turns == (
        Turn("system", "Be brief."),
        Turn("user", "a", weight=0.0),
        Turn("assistant", "b", weight=0.5),
    )


def test_a_system_of_its_own_is_not_added_twice() -> None:
    items = [{"role": "system", "content": "own"}, {"role": "user", "content": "a"}]
    assert [turn.value for turn in read_record({"items": items, "system": "other"}).turns] == ["own", "a"]


def test_columns_of_json_and_of_tables() -> None:
    text = '[{"from": "human", "value": "a"}]'
    assert read_record({"messages": None, "conversations": text}).turns == (Turn("user", "a"),)
    row = {
        "id": None,
        "messages": [{"role": "user", "content": "a", "weight": None, "from": None, "value": None}],
    }
    assert read_record(row) == Source(None, (Turn("user", "a"),))


def test_the_inside_of_a_share_page() -> None:
    content = {"items": [{"from": "human", "value": "a"}], "model": "Model: GPT-4"}
    assert read_record({"id": "x", "content": content}) == Source("x", (Turn("user", "a"),), "Model: GPT-4")


def test_numbers_are_ids() -> None:
    messages = [{"role": "user", "content": "a"}]
    assert read_record({"id": 5, "messages": messages}).id == "5"
    assert read_record({"id": 0, "conversation_id": "c", "messages": messages}).id == "0"
    assert read_record({"id": True, "conversation_id": 7, "messages": messages}).id == "7"
    assert read_record({"id": 1.5, "messages": messages}).id is None


def test_the_first_list_that_holds_turns_is_taken() -> None:
    conversations = [{"from": "human", "value": "a"}]
    assert len(read_record({"messages": [], "conversations": conversations}).turns) == 1
    assert read_record({"messages": [], "conversations": []}).turns == ()


@pytest.mark.parametrize(
    ("record", "reason", "words"),
    [
        ([], "unknown_record", "a list, not an object with messages"),
        ({}, "unknown_record", "no keys"),
        ({"instruction": "a", "output": "b"}, "unknown_record", "but instruction, output"),
        ({"messages": 5}, "unknown_record", "messages is a number, not a list"),
        ({"messages": "[{]"}, "bad_json", "not valid JSON"),
        ({"messages": ["a"]}, "bad_item", "turn 1: a text, not an object"),
        (
            {"messages": [{"role": "tool", "content": "a"}]},
            "bad_item",
            "turn 1: role 'tool' is none of human",
        ),
        ({"messages": [{"content": "a"}]}, "bad_item", "role None"),
        ({"messages": [{"role": "user", "content": None}]}, "bad_item", r"turn 1 \(user\): the text is None"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "bad_item", "a part is"),
        (
            {"items": [{"role": "user", "content": "a", "weight": -1}]},
            "bad_item",
            "weight -1 is no number from 0",
        ),
        ({"items": [{"role": "user", "content": "a", "weight": 10**400}]}, "bad_item", "from 0 to 1,000,000"),
        ({"items": [{"role": "user", "content": "a", "weight": 1e300}]}, "bad_item", "weight 1e"),
        ({"items": [{"role": "user", "content": "a", "weight": float("nan")}]}, "bad_item", "weight nan"),
        ({"items": [{"role": "user", "content": "a", "weight": "1"}]}, "bad_item", "weight '1'"),
    ],
)
def test_what_cannot_be_used(record: Any, reason: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as raised:
        read_record(record)
    assert raised.value.reason == reason
    assert "\n" not in raised.value.detail


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TURNS = st.dictionaries(
    st.sampled_from(["role", "from", "content", "value", "weight"]),
    VALUES | st.sampled_from(["user", "assistant"]) | st.lists(VALUES, max_size=2),
)
KEYS = st.sampled_from(
    ["id", "messages", "items", "conversations", "system", "model", "content", "condition"]
)


@given(record=VALUES | st.dictionaries(KEYS, VALUES | st.lists(TURNS | VALUES, max_size=3)))
def test_no_record_raises_anything_else(record: Any) -> None:
    try:
        assert isinstance(read_record(record), Source)
    except SourceError as error:
        assert error.reason in ("unknown_record", "bad_item", "bad_json")
