"""What a request may say, and how it is told what it may not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ochat_ray.conversation import Message
from ochat_ray.errors import RequestError
from ochat_ray.model_types import ToolConvention
from ochat_ray.serve.protocol.chat import ChatRequest
from ochat_ray.serve.protocol.common import parse_body
from ochat_ray.serve.protocol.completions import CompletionRequest
from ochat_ray.serve.tools import to_messages

CALL = {"id": "1", "type": "function", "function": {"name": "a", "arguments": "{}"}}


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


choice = tool
MINIMAL: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def parse(**changes: Any) -> ChatRequest:
    return parse_body(ChatRequest, json.dumps({**MINIMAL, **changes}).encode())


def test_null_means_the_default_for_every_optional_parameter() -> None:
    optional = [name for name in ChatRequest.model_fields if name not in MINIMAL]
    assert optional
    assert parse(**dict.fromkeys(optional)) == parse()


def test_a_stop_string_is_a_list_of_one() -> None:
    assert parse(stop="x").stop == parse(stop=["x"]).stop == ["x"]


def test_text_parts_are_joined_and_developer_is_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = parse(messages=[{"role": "developer", "content": parts}])
    assert to_messages(request.messages, (), ToolConvention()) == [Message("system", "ab")]


@pytest.mark.parametrize(
    "harmless",
    [{"store": False}, {"functions": []}, {"service_tier": "auto"}, {"metadata": {}}, {"audio": None}],
)
def test_unsupported_parameters_that_ask_for_nothing_pass(harmless: dict[str, Any]) -> None:
    assert parse(**harmless) == parse()


def test_an_answer_of_the_openai_client_can_be_sent_back() -> None:
    reply = {"role": "assistant", "content": "a", "refusal": None, "tool_calls": None, "audio": None}
    assert len(parse(messages=[*MINIMAL["messages"], reply]).messages) == 2


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": ""}, "stop[0]"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"seed": "1"}, "seed"),
        ({"temprature": 1}, "temprature"),
        ({"logprobs": 3}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": 1e-300}, "repetition_penalty"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]"),
        ({"store": True}, "store"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [tool("a b")]}, "tools[0].function.name"),
        ({"tools": [tool("a"), tool("a")]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tools": [tool("a")], "tool_choice": choice("b")}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"tools": [tool("a")], "tool_choice": "required", "response_format": {"type": "json_object"}},
            "response_format",
        ),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "user", "content": "x", "name": "Bob B"}]}, "messages[0].name"),
        ({"messages": [{"role": "user", "content": "x", "weight": 1}]}, "messages[0].weight"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content",
        ),
        ({"model": None}, "model"),
    ],
)
def test_a_fault_names_its_parameter(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(**changes)
    assert caught.value.param == param
    assert param.rsplit(".", 1)[-1] in str(caught.value)
    assert param.split(".")[0] in str(caught.value)


def test_a_name_is_read_before_what_its_speaker_says() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "name": "Bob", "content": "hi"},
        {"role": "assistant", "name": "Ada-2", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "name": "a", "content": "x", "tool_call_id": "1"},
    ]
    user, assistant, result = to_messages(parse(messages=messages).messages, (), ToolConvention())
    assert user.content == "Bob: hi"
    assert assistant.content.startswith("Ada-2:\n<tool_call>")
    unnamed = parse(messages=[{**messages[2], "name": None}]).messages
    assert [result] == to_messages(unnamed, (), ToolConvention())


@pytest.mark.parametrize("prompt", [[], [[]], [["x"]], ["a", 1], {"a": 1}, 5, None, [-1]])
def test_a_fault_in_a_prompt_names_no_python_type(prompt: Any) -> None:
    body = json.dumps({"model": "m", "prompt": prompt}).encode()
    with pytest.raises(RequestError) as caught:
        parse_body(CompletionRequest, body)
    assert re.fullmatch(r"prompt(\[\d+\])*", str(caught.value.param))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b'"x"', b"\xff", b'{"model": "\\ud800"}'])
def test_what_is_no_json_object_is_a_request_error(body: bytes) -> None:
    with pytest.raises(RequestError, match="JSON"):
        parse_body(ChatRequest, body)


def test_long_values_are_shown_in_short() -> None:
    with pytest.raises(RequestError) as caught:
        parse(temperature="x" * 10_000)
    assert len(str(caught.value)) < 300
