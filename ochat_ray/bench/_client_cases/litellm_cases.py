# mypy: ignore-errors
# The packages that this imports are in an environment of its own.
"""Cases of litellm with its provider openai/."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import litellm
import pytest

MODEL = f"openai/{os.environ['CLIENTS_MODEL']}"
ENDPOINT: dict[str, Any] = {
    "api_base": f"{os.environ['CLIENTS_URL']}/v1",
    "api_key": "none",
    "num_retries": 0,
    "max_retries": 0,
}
HI = [{"role": "user", "content": "hi"}]
SCHEMA = {
    "type": "object",
    "properties": {"days": {"type": "integer", "minimum": 0, "maximum": 9}, "unit": {"enum": ["C", "F"]}},
    "required": ["days", "unit"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]


def ask(**changes: Any) -> Any:
    return litellm.completion(**{"model": MODEL, "messages": HI, "max_tokens": 300, **ENDPOINT, **changes})


def test_whole() -> None:
    answer = ask()
    assert isinstance(answer.choices[0].message.content, str)
    assert answer.usage.completion_tokens > 0


def test_stream_rebuilt() -> None:
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    answer = litellm.stream_chunk_builder(chunks, messages=HI)
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens > 0


def test_async() -> None:
    answer = asyncio.run(litellm.acompletion(model=MODEL, messages=HI, max_tokens=20, **ENDPOINT))
    assert answer.choices


@pytest.mark.parametrize("stream", [False, True])
def test_required_tool(stream: bool) -> None:
    answer = ask(tools=TOOLS, tool_choice="required", stream=stream)
    if stream:
        answer = litellm.stream_chunk_builder(list(answer), messages=HI)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "weather" and set(json.loads(call.function.arguments)) == {"days", "unit"}


def test_tool_results_sent_back() -> None:
    message = ask(tools=TOOLS, tool_choice="required").choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "name": "weather", "content": "sunny"}
    assert ask(messages=[*HI, message.model_dump(), result], tools=TOOLS).choices


def test_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA, "strict": True}}
    assert set(json.loads(ask(response_format=form).choices[0].message.content)) == {"days", "unit"}


def test_text_completion() -> None:
    answer = litellm.text_completion(model=f"text-completion-{MODEL}", prompt="hi", max_tokens=5, **ENDPOINT)
    assert isinstance(answer.choices[0].text, str)


def test_embeddings() -> None:
    assert len(litellm.embedding(model=MODEL, input=["a", "b"], **ENDPOINT).data) == 2


def test_errors() -> None:
    with pytest.raises(litellm.NotFoundError):
        ask(model="openai/x")
    with pytest.raises(litellm.BadRequestError):
        ask(temperature=9.0)


def test_too_long_a_prompt_has_its_own_error() -> None:
    with pytest.raises(litellm.ContextWindowExceededError):
        ask(messages=[{"role": "user", "content": "a b c " * 20_000}])
