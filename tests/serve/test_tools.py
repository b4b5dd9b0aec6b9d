"""Tools as text: offered in the system message, calls parsed back however the reply is cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.conversation import Message
from ochat_ray.model_types import ToolConvention
from ochat_ray.serve.protocol.chat import ChatMessage, Tool
from ochat_ray.serve.tools import Call, CallParser, call_schema, parse_call, to_messages

CONVENTION = ToolConvention()
WEATHER = Tool.model_validate(
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}},
    }
)


def parsed(text: str, size: int) -> list[str | Call]:
    parser = CallParser(CONVENTION)
    parts = [part for at in range(0, len(text), size) for part in parser.push(text[at : at + size])]
    parts += parser.flush()
    joined: list[str | Call] = []
    for part in parts:
        if joined and isinstance(part, str) and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


@given(st.integers(1, 30))
def test_calls_and_text_are_split_however_the_reply_comes(size: int) -> None:
    text = (
        'Let me see. <tool_call>{"name": "weather", "arguments": {"city": "K\u00f6ln"}}</tool_call>'
        ' and <tool_call>\n{"name": "b"}\n</tool_call> a < b <tool_calls'
    )
    assert parsed(text, size) == [
        "Let me see. ",
        Call("weather", '{"city": "K\u00f6ln"}'),
        " and ",
        Call("b", "{}"),
        " a < b <tool_calls",
    ]


@given(st.text("<tool_cal>/x", max_size=60), st.integers(1, 9))
def test_nothing_is_lost_of_text_that_makes_no_call(text: str, size: int) -> None:
    assert "".join(part for part in parsed(text, size) if isinstance(part, str)) == text


@pytest.mark.parametrize("text", ["", "[]", "{", '{"arguments": {}}', '{"name": 3}'])
def test_what_is_no_call_is_text(text: str) -> None:
    assert parse_call(text) is None
    assert parsed(f"<tool_call>{text}</tool_call>", 5) == [f"<tool_call>{text}</tool_call>"]


def test_a_call_that_was_cut_off_by_the_end_counts_if_it_is_whole() -> None:
    assert parsed('<tool_call>{"name": "a"}', 4) == [Call("a", "{}")]


def test_tools_are_offered_after_the_system_message() -> None:
    system, user = ChatMessage(role="developer", content="Be kind."), ChatMessage(role="user", content="hi")
    with_system = to_messages([system, user], [WEATHER], CONVENTION)
    assert with_system[0].content.startswith("Be kind.\n\n")
    assert json.loads(with_system[0].content.splitlines()[-1])["function"]["name"] == "weather"
    alone = to_messages([user], [WEATHER], CONVENTION)
    assert [message.role for message in alone] == ["system", "user"]
    assert to_messages([user], [], CONVENTION) == [Message("user", "hi")]


def test_calls_and_results_are_written_as_the_model_writes_them() -> None:
    call = {"id": "1", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
    messages = [
        ChatMessage(role="user", content="and?"),
        ChatMessage.model_validate({"role": "assistant", "tool_calls": [call]}),
        ChatMessage(role="tool", tool_call_id="1", content="rain"),
        ChatMessage(role="tool", tool_call_id="2", content="sun"),
    ]
    rendered = to_messages(messages, [], CONVENTION)
    assert [m.role for m in rendered] == ["user", "assistant", "user"]
    assert parsed(rendered[1].content, 100) == [Call("weather", '{"city": "Bonn"}')]
    assert rendered[2].content == "<tool_response>rain</tool_response>\n<tool_response>sun</tool_response>"


def test_the_schema_of_a_call_is_that_of_its_tool() -> None:
    schema = json.loads(call_schema([WEATHER, WEATHER]))
    assert [one["$ref"] for one in schema["anyOf"]] == ["#/$defs/call0", "#/$defs/call1"]
    call = schema["$defs"]["call0"]["properties"]
    assert call["name"] == {"const": "weather"}
    assert call["arguments"] == WEATHER.function.parameters
