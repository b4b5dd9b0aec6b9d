# mypy: ignore-errors
# The packages that this imports are in an environment of its own.
"""litellm with the provider `openai/`."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import litellm
import pytest

NAME = f"openai/{os.environ['CLIENTS_MODEL']}"
SERVER: dict[str, Any] = {
    "model": NAME,
    "api_base": f"{os.environ['CLIENTS_URL']}/v1",
    "api_key": "none",
    "num_retries": 0,
}
MESSAGES = [{"role": "user", "content": "Hello there"}]
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Of a place", "parameters": PLACE},
}


def ask(**changes: Any) -> Any:
    return litellm.completion(**{**SERVER, "messages": MESSAGES, "max_tokens": 900, **changes})


def test_whole() -> None:
    answer = ask()
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_asynchronous() -> None:
    asked = {**SERVER, "messages": MESSAGES, "max_tokens": 60}
    assert asyncio.run(litellm.acompletion(**asked)).choices[0].message.content


def test_streamed_with_usage() -> None:
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    built = litellm.stream_chunk_builder(chunks, messages=MESSAGES)
    assert built.choices[0].message.content
    assert chunks[-1].usage.completion_tokens > 0


def test_whole_and_streamed_are_the_same() -> None:
    settled = {"temperature": 0, "max_tokens": 30}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in ask(stream=True, **settled))
    assert text == ask(**settled).choices[0].message.content


def test_parameters() -> None:
    answer = ask(
        n=2,
        seed=3,
        stop=["##"],
        top_p=0.9,
        presence_penalty=0.5,
        frequency_penalty=0.5,
        logit_bias={"40": -100},
        user="someone",
    )
    assert len(answer.choices) == 2


def test_logprobs() -> None:
    content = ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert content and all(len(one.top_logprobs) == 2 for one in content)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("chosen", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_calls(chosen: Any, stream: bool) -> None:
    answer = ask(tools=[WEATHER], tool_choice=chosen, stream=stream)
    if stream:
        answer = litellm.stream_chunk_builder(list(answer), messages=MESSAGES)
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert set(json.loads(call.function.arguments)) == {"city", "days"}


def test_calls_and_results_go_back() -> None:
    called = ask(tools=[WEATHER], tool_choice="required").choices[0].message
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "name": "weather", "content": "sun"}
    assert ask(tools=[WEATHER], messages=[*MESSAGES, called, result]).choices


def test_schema() -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE, "strict": True}}
    assert set(json.loads(ask(response_format=asked).choices[0].message.content)) == {"city", "days"}


def test_json_object() -> None:
    answer = ask(response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_text_completion() -> None:
    answer = litellm.text_completion(
        model=f"text-completion-{NAME}", prompt="Once", max_tokens=9, **_but_model()
    )
    assert answer.choices[0].text


def test_embeddings() -> None:
    answer = litellm.embedding(model=NAME, input=["a", "b"], **_but_model())
    assert len(answer.data) == 2


def test_faults() -> None:
    with pytest.raises(litellm.NotFoundError, match="other"):
        ask(model="openai/other")
    with pytest.raises(litellm.BadRequestError, match="temperature"):
        ask(temperature=9)
    with pytest.raises(litellm.ContextWindowExceededError):
        ask(messages=[{"role": "user", "content": "word " * 40_000}])


def _but_model() -> dict[str, Any]:
    return {name: value for name, value in SERVER.items() if name != "model"}
