"""The endpoints over a local engine, through OpenAI's own client and raw HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from transformers import AutoModelForCausalLM

from ochat_ray.conversation import Message
from ochat_ray.exported import Exported, write_chat_files
from ochat_ray.model_types import load_model_type
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    EngineStats,
    Generation,
    OtherTemplateError,
    OverloadedError,
)
from ochat_ray.serve.models import ServedModel, rendered_by
from ochat_ray.serve.protocol.chat import ChatRequest
from ochat_ray.serve.protocol.completions import CompletionRequest
from ochat_ray.serve.protocol.texts import EmbeddingRequest
from ochat_ray.template import ChatTemplate
from tests.serve.conftest import api_over, listening

HI: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def client(local_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{local_url}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, **changes: Any) -> Any:
    settings: dict[str, Any] = {"model": "openchat", "messages": HI, "max_tokens": 40, "temperature": 0}
    return client.chat.completions.create(**{**settings, **changes})


def engine_stats(url: str) -> dict[str, Any]:
    stats: dict[str, Any] = httpx2.get(f"{url}/health").json()["models"]["openchat"]
    return stats


def text_of(stream: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_whole_and_streamed_answers_are_the_same_text(client: openai.OpenAI) -> None:
    whole = ask(client)
    assert whole.choices[0].message.content
    assert text_of(ask(client, stream=True)) == whole.choices[0].message.content


def test_usage_counts_the_rendered_prompt_and_the_generated_tokens(
    client: openai.OpenAI, exported: Exported
) -> None:
    answer = ask(client, max_tokens=7)
    rendered = exported.template.render_prompt([Message("user", "hi")])
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (
        len(rendered),
        7,
        len(rendered) + 7,
    )
    assert answer.choices[0].finish_reason == "length"


def test_a_stream_has_openai_s_order_of_chunks(local_url: str) -> None:
    body = {"model": "openchat", "messages": HI, "max_tokens": 5, "temperature": 0, "stream": True}
    body["stream_options"] = {"include_usage": True}
    response = httpx2.post(f"{local_url}/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    *chunks, usage = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert all(c["usage"] is None for c in chunks)
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 5
    assert len({c["id"] for c in [*chunks, usage]}) == 1


def test_without_include_usage_no_chunk_speaks_of_it(client: openai.OpenAI) -> None:
    chunks = list(ask(client, stream=True, max_tokens=3))
    assert chunks and all(chunk.choices for chunk in chunks)
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_end_the_text_before_them(client: openai.OpenAI, stream: bool) -> None:
    full = ask(client).choices[0].message.content
    stop = full[10:13]
    answer = ask(client, stop=["never in it", stop], stream=stream)
    expected = full[: full.index(stop)]
    if stream:
        chunks = list(answer)
        assert text_of(chunks) == expected
        assert chunks[-1].choices[0].finish_reason == "stop"
    else:
        assert answer.choices[0].message.content == expected
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.completion_tokens < 40


def test_choices_of_a_seed_differ_from_each_other_and_come_again(client: openai.OpenAI) -> None:
    first, again = (ask(client, n=3, seed=4, temperature=1.0) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert texts == [choice.message.content for choice in again.choices]
    assert first.usage.completion_tokens == 3 * 40


def test_streamed_choices_are_told_apart_by_index(client: openai.OpenAI) -> None:
    whole = ask(client, n=2, seed=4, temperature=1.0)
    texts = ["", ""]
    for chunk in ask(client, n=2, seed=4, temperature=1.0, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]


def test_biases_and_penalties_change_the_text(client: openai.OpenAI, exported: Exported) -> None:
    letter = exported.template.tokenizer.encode("x")[0]
    forced = ask(client, max_tokens=4, logit_bias={str(letter): 100})
    assert forced.choices[0].message.content == "xxxx"
    varied = ask(client, max_tokens=4, logit_bias={str(letter): 20}, frequency_penalty=2.0)
    assert varied.choices[0].message.content.startswith("x")
    with pytest.raises(openai.BadRequestError, match="no token 999999"):
        ask(client, logit_bias={"999999": 1})


def test_sixteen_streams_at_once_are_what_each_is_alone(local_url: str) -> None:
    asyncio.run(sixteen_streams(f"{local_url}/v1"))


async def sixteen_streams(base_url: str) -> None:
    client = openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)

    async def one(index: int) -> str:
        stream = await client.chat.completions.create(
            model="openchat",
            messages=[{"role": "user", "content": f"question {index} " * (1 + 3 * index)}],
            max_tokens=20 + index,
            temperature=0,
            stream=True,
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    alone = [await one(index) for index in range(16)]
    assert await asyncio.gather(*(one(index) for index in range(16))) == alone
    assert len(set(alone)) == 16


def test_invalid_json_raises_the_clients_own_exception(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="not valid JSON") as raised:
        client.post("/chat/completions", cast_to=object, content=b'{"model": ')
    assert raised.value.code == "invalid_json"


@pytest.mark.parametrize("stream", [False, True])
def test_errors_before_the_first_token_have_a_status(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        ask(client, model="gpt-4", stream=stream)
    assert missing.value.code == "model_not_found" and "openchat" in missing.value.message
    long = [{"role": "user", "content": "a b c " * 2000}]
    with pytest.raises(openai.BadRequestError) as too_long:
        ask(client, messages=long, stream=stream)
    assert too_long.value.code == "context_length_exceeded"
    # Clients know it by these words.
    assert "this model's maximum context length is 2048 tokens" in too_long.value.message
    with pytest.raises(openai.BadRequestError) as unknown:
        ask(client, stream=stream, extra_body={"typo": 1})
    assert unknown.value.param == "typo"
    with pytest.raises(openai.BadRequestError, match="takes none"):
        ask(client, stream=stream, extra_body={"condition": "GPT4"})


def test_raw_faults_have_openai_s_shape(local_url: str) -> None:
    url = f"{local_url}/v1/chat/completions"
    answers = {
        400: httpx2.post(url, content=b"{nope", headers={"Content-Type": "application/json"}),
        404: httpx2.get(f"{local_url}/v1/nothing"),
        405: httpx2.get(url),
    }
    for status, response in answers.items():
        assert response.status_code == status
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
    assert answers[405].headers["allow"] == "POST"


def test_models_are_listed_and_looked_up(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["openchat", "gpt-x"]
    assert client.models.retrieve("openchat").id == "openchat"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("org/other")


def test_a_stream_left_midway_frees_its_room(client: openai.OpenAI, local_url: str) -> None:
    stream = ask(client, stream=True, max_tokens=2000)
    next(iter(stream))
    assert engine_stats(local_url)["running"] == 1
    stream.close()
    deadline = time.monotonic() + 30
    while (health := engine_stats(local_url))["running"]:
        assert time.monotonic() < deadline, "generation went on after the client left"
        time.sleep(0.02)
    assert health["free_tokens"] == health["cache_tokens"]


class Broken:
    """A backend that gives some chunks and then an error."""

    def __init__(self, chunks: int, error: Exception, token_id: int = 5) -> None:
        self.chunks, self.error, self.token_id = chunks, error, token_id

    async def generate(self, _: Generation) -> AsyncGenerator[Chunk, None]:
        for _ in range(self.chunks):
            yield Chunk([self.token_id], None)
        raise self.error

    async def stats(self) -> EngineStats:
        raise self.error


class Scripted:
    """A backend that says a given text, a token at a time."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    async def generate(self, _: Generation) -> AsyncGenerator[Chunk, None]:
        for token_id in self.ids:
            yield Chunk([token_id], None)
        yield Chunk([], "stop")

    async def stats(self) -> EngineStats:
        return EngineStats(0, 0, 0, 0)


def test_characters_of_several_tokens_are_never_cut(exported: Exported) -> None:
    text = "\U0001f984 \u4e16\u754c \U0001f468\u200d\U0001f469 caf\u00e9 \u0e20\u0e32\u0e29\u0e32"
    ids = exported.template.tokenizer.encode(text)
    assert len(ids) > len(text)
    with listening(over(exported, Scripted(ids))) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        deltas = [c.choices[0].delta.content or "" for c in ask(client, stream=True)]
    assert "".join(deltas) == text
    assert not any("\ufffd" in delta for delta in deltas)


def over(exported: Exported, backend: Any, timeout_s: float = 60.0, longest: int = 100) -> Any:
    return api_over(ServedModel("openchat", exported.template, backend, longest=longest, timeout_s=timeout_s))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OverloadedError("busy"), 429),
        (EngineDeadError("gone"), 503),
        (TimeoutError(), 504),
        (KeyError("secret"), 500),
    ],
)
def test_failures_of_the_engine_have_their_status(
    exported: Exported, error: Exception, status: int, stream: bool
) -> None:
    with listening(over(exported, Broken(0, error))) as url:
        body = {"model": "openchat", "messages": HI, "stream": stream}
        response = httpx2.post(f"{url}/v1/chat/completions", json=body)
        assert response.status_code == status
        assert response.json()["error"]["message"]
        assert "secret" not in response.text
        assert ("retry-after" in response.headers) == (status in (429, 503))
        assert httpx2.get(f"{url}/health").status_code >= 429


def test_an_error_after_the_first_byte_is_an_event_and_the_end(exported: Exported) -> None:
    with listening(over(exported, Broken(2, EngineDeadError("gone")))) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.APIError, match="gone"):
            list(ask(client, stream=True))
        body = {"model": "openchat", "messages": HI, "stream": True}
        text = httpx2.post(f"{url}/v1/chat/completions", json=body).text
        assert "event: error\n" in text and "[DONE]" not in text


def test_an_engine_that_falls_silent_is_timed_out(exported: Exported) -> None:
    class Silent(Broken):
        async def generate(self, _: Generation) -> AsyncGenerator[Chunk, None]:
            await asyncio.Event().wait()
            yield Chunk([], None)

    with listening(over(exported, Silent(0, KeyError()), timeout_s=0.2)) as url:
        response = httpx2.post(f"{url}/v1/chat/completions", json={"model": "openchat", "messages": HI})
        assert response.status_code == 504


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_required_call_follows_the_tool_s_schema(client: openai.OpenAI, stream: bool) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra json")
    for chosen in ("required", {"type": "function", "function": {"name": "weather"}}):
        answer = ask(
            client, tools=[WEATHER], tool_choice=chosen, stream=stream, max_tokens=400, temperature=0.7
        )
        if stream:
            chunks = list(answer)
            (call,) = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
            reason = chunks[-1].choices[0].finish_reason
            assert not text_of(chunks)
        else:
            (call,) = answer.choices[0].message.tool_calls
            reason = answer.choices[0].finish_reason
            assert answer.choices[0].message.content is None
        arguments = json.loads(call.function.arguments)
        assert call.function.name == "weather" and call.id
        assert set(arguments) == {"city", "days"} and isinstance(arguments["days"], int)
        assert reason == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_the_model_writes_is_parsed_back(exported: Exported, stream: bool) -> None:
    text = 'Sure. <tool_call>{"name": "weather", "arguments": {"city": "Rome", "days": 1}}</tool_call>'
    script = Scripted(exported.template.tokenizer.encode(text))
    with listening(over(exported, script, longest=2000)) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        answer = ask(client, tools=[WEATHER], stream=stream)
        if stream:
            chunks = list(answer)
            assert text_of(chunks) == "Sure. "
            (call,) = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
            assert chunks[-1].choices[0].finish_reason == "tool_calls"
        else:
            assert answer.choices[0].message.content == "Sure. "
            (call,) = answer.choices[0].message.tool_calls
        assert json.loads(call.function.arguments) == {"city": "Rome", "days": 1}
        # Without tools the same text is text.
        assert ask(client).choices[0].message.content == text


@pytest.mark.parametrize("stream", [False, True])
def test_json_follows_the_schema(client: openai.OpenAI, stream: bool) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra json")
    schema = WEATHER["function"]["parameters"]  # type: ignore[index]
    asked = {"type": "json_schema", "json_schema": {"name": "w", "schema": schema, "strict": True}}
    for seed in range(3):
        answer = ask(client, response_format=asked, stream=stream, seed=seed, temperature=1.0, max_tokens=400)
        text = text_of(answer) if stream else answer.choices[0].message.content
        found = json.loads(text)
        assert set(found) == {"city", "days"} and len(found["city"]) <= 8
    with pytest.raises(openai.BadRequestError, match="response_format"):
        broken = {"type": "json_schema", "json_schema": {"name": "w", "schema": {"type": "nothing"}}}
        ask(client, response_format=broken)


def test_any_json_object_is_an_object(client: openai.OpenAI, exported: Exported) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra json")
    close = exported.template.tokenizer.encode("}")[0]
    answer = ask(client, response_format={"type": "json_object"}, logit_bias={str(close): 30}, max_tokens=300)
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_a_schema_is_over_when_it_is_over(client: openai.OpenAI) -> None:
    """The fewest tokens cannot be reached where the grammar allows nothing but the end."""
    pytest.importorskip("xgrammar", reason="needs the extra json")
    schema = {"type": "json_schema", "json_schema": {"name": "b", "schema": {"type": "boolean"}}}
    answer = ask(client, response_format=schema, temperature=1.0, extra_body={"min_tokens": 30, "top_k": 5})
    assert answer.choices[0].message.content in ("true", "false")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^\\n+$"},
        {"type": "string", "pattern": "(" * 9000 + "a" + ")" * 9000},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(3000)}},
        {"$ref": "#"},
    ],
    ids=["control characters", "deep pattern", "many properties", "of itself"],
)
def test_a_schema_that_cannot_be_followed_harms_nobody(
    client: openai.OpenAI, local_url: str, schema: dict[str, Any]
) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra json")
    asked = {"type": "json_schema", "json_schema": {"name": "b", "schema": schema}}
    with contextlib.suppress(openai.BadRequestError):
        ask(client, response_format=asked, temperature=1.0, top_p=0.9, max_tokens=20)
    assert ask(client, max_tokens=2).choices[0].message.content
    assert engine_stats(local_url)["running"] == 0


@pytest.mark.parametrize(
    "schema",
    [{"not": {}}, {"allOf": [{"type": "string"}, {"minLength": 2}]}, {"properties": {"a": {"if": {}}}}],
    ids=["not", "allOf", "if"],
)
def test_a_keyword_that_cannot_be_followed_is_named(client: openai.OpenAI, schema: dict[str, Any]) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "b", "schema": schema}}
    with pytest.raises(openai.BadRequestError, match=r"keyword '(not|allOf|if)'"):
        ask(client, response_format=asked)
    named = {"type": "object", "properties": {"not": {"const": 1}, "if": {"enum": ["not"]}}}
    asked = {"type": "json_schema", "json_schema": {"name": "b", "schema": named}}
    assert ask(client, response_format=asked, max_tokens=2).choices


def test_a_tool_s_schema_may_refer_to_its_own_parts(client: openai.OpenAI) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra json")
    parameters = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"A": {"enum": [1, 2]}},
    }
    nested = {"type": "function", "function": {"name": "nested", "parameters": parameters}}
    for tools in ([nested], [WEATHER, nested]):
        choice = {"type": "function", "function": {"name": "nested"}}
        answer = ask(client, tools=tools, tool_choice=choice, max_tokens=200)
        (call,) = answer.choices[0].message.tool_calls
        assert json.loads(call.function.arguments)["a"] in (1, 2)
    answer = ask(client, tools=[WEATHER, nested], tool_choice="required", max_tokens=400, temperature=1.0)
    assert answer.choices[0].message.tool_calls


def test_deep_brackets_in_a_call_are_text(client: openai.OpenAI) -> None:
    function = {"name": "f", "arguments": "[" * 20000}
    called: Any = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    with pytest.raises(openai.BadRequestError, match="context"):
        ask(client, messages=[*HI, called, *HI])


def test_choices_do_not_count_what_the_first_computed_as_known(client: openai.OpenAI) -> None:
    cold: list[Any] = [{"role": "user", "content": "entirely new words of this very test " * 9}]
    assert ask(client, messages=cold, n=2, max_tokens=2).usage.prompt_tokens_details.cached_tokens < 32
    warm = ask(client, messages=cold, n=2, max_tokens=2).usage
    assert warm.prompt_tokens_details.cached_tokens == warm.prompt_tokens - 1


def test_more_replies_than_an_engine_takes_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="prompts times n"):
        client.completions.create(model="openchat", prompt=["x"] * 40, n=2)


def test_logprobs_have_openai_s_shape_and_sum_to_no_more_than_one(
    client: openai.OpenAI, exported: Exported
) -> None:
    answer = ask(client, logprobs=True, top_logprobs=4, max_tokens=12)
    content = answer.choices[0].logprobs.content
    assert (
        b"".join(bytes(one.bytes) for one in content)
        .decode(errors="replace")
        .startswith(answer.choices[0].message.content.rstrip("\ufffd"))
    )
    for one in content:
        assert len(one.top_logprobs) == 4
        assert one.logprob == max(top.logprob for top in one.top_logprobs)  # greedy
        assert sum(math.exp(top.logprob) for top in one.top_logprobs) <= 1 + 1e-6
    streamed = [
        one
        for chunk in ask(client, logprobs=True, top_logprobs=4, max_tokens=12, stream=True)
        for one in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else [])
    ]
    assert [one.token for one in streamed] == [one.token for one in content]
    assert ask(client, max_tokens=3).choices[0].logprobs is None
    # By the model's own distribution, whatever is done to the choice.
    letter = exported.template.tokenizer.encode("x")[0]
    forced = ask(client, logprobs=True, max_tokens=1, logit_bias={str(letter): 100})
    assert forced.choices[0].logprobs.content[0].token == "x"
    assert forced.choices[0].logprobs.content[0].logprob < -0.01


def test_usage_tells_of_what_was_known(client: openai.OpenAI) -> None:
    history: list[Any] = [{"role": "user", "content": "a long story about nothing at all " * 12}]
    first = ask(client, messages=history, max_tokens=30)
    history += [
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "and then?"},
    ]
    second = ask(client, messages=history, max_tokens=5)
    cached = second.usage.prompt_tokens_details.cached_tokens
    assert first.usage.prompt_tokens <= cached < second.usage.prompt_tokens
    stream = list(ask(client, messages=history, stream=True, stream_options={"include_usage": True}))
    assert stream[-1].usage.prompt_tokens_details.cached_tokens >= cached


def test_extremes_of_sampling_leave_the_engine_alive(client: openai.OpenAI, local_url: str) -> None:
    extremes: list[dict[str, Any]] = [
        {"temperature": 1e-45},
        {"temperature": 2, "top_p": 1e-320},
        {"extra_body": {"repetition_penalty": 0.01}},
        {"extra_body": {"repetition_penalty": 10, "min_p": 1e-300}},
        {"extra_body": {"top_k": 2**31 - 1, "min_tokens": 2**31 - 1}},
    ]
    for one in extremes:
        answer = ask(client, **{"temperature": 0.5, "max_tokens": 3, **one})
        assert answer.usage.completion_tokens == 3
    with pytest.raises(openai.BadRequestError, match="repetition_penalty"):
        ask(client, extra_body={"repetition_penalty": 1e-300})
    assert engine_stats(local_url)["running"] == 0


def test_fewest_tokens_and_ends_by_ids(client: openai.OpenAI, exported: Exported) -> None:
    eot = exported.template.eot_id
    assert ask(client, logit_bias={str(eot): 100}).usage.completion_tokens == 1
    held = ask(client, logit_bias={str(eot): 100}, extra_body={"min_tokens": 6})
    assert held.usage.completion_tokens == 7
    letter = exported.template.tokenizer.encode("x")[0]
    ended = ask(client, logit_bias={str(letter): 100}, extra_body={"stop_token_ids": [letter]})
    assert (ended.choices[0].finish_reason, ended.choices[0].message.content) == ("stop", "")


def test_plain_completions(client: openai.OpenAI, exported: Exported) -> None:
    base: dict[str, Any] = {"model": "openchat", "max_tokens": 8, "temperature": 0}
    one = client.completions.create(prompt="The quick", **base)
    assert one.usage.prompt_tokens == len(exported.template.bos_ids) + len(
        exported.template.tokenizer.encode("The quick")
    )
    assert one.choices[0].finish_reason == "length" and one.choices[0].text
    stream = client.completions.create(prompt="The quick", stream=True, **base)
    assert "".join(chunk.choices[0].text for chunk in stream) == one.choices[0].text
    several = client.completions.create(prompt=["The quick", "Human"], n=2, echo=True, **base)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[1].text == "The quick" + one.choices[0].text
    assert several.choices[3].text.startswith("Human")
    ids = exported.template.bos_ids + exported.template.tokenizer.encode("The quick")
    assert client.completions.create(prompt=ids, **base).choices[0].text == one.choices[0].text
    scored = client.completions.create(prompt="The quick", logprobs=2, **base).choices[0].logprobs
    assert len(scored.tokens) == len(scored.token_logprobs) == len(scored.text_offset) == 8
    assert all(len(top) <= 2 for top in scored.top_logprobs)
    for bad in ({"prompt": []}, {"prompt": [[]]}, {"prompt": [999999]}, {"prompt": "x", "suffix": "y"}):
        with pytest.raises(openai.BadRequestError):
            client.completions.create(**{**base, **bad})


def test_embeddings_are_the_mean_of_the_last_layer(
    client: openai.OpenAI, model_dir: Path, exported: Exported
) -> None:
    texts = ["hello there", "The quick brown fox jumps over the lazy dog. " * 9]
    got = client.embeddings.create(model="openchat", input=texts)  # base64 on the wire
    plain = client.embeddings.create(model="openchat", input=texts[1], encoding_format="float")
    assert got.data[1].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    model = AutoModelForCausalLM.from_pretrained(model_dir)
    for text, one in zip(texts, got.data, strict=True):
        ids = exported.template.bos_ids + exported.template.tokenizer.encode(text)
        with torch.inference_mode():
            hidden_TE = model.model(torch.tensor([ids])).last_hidden_state[0]
        expected = torch.nn.functional.normalize(hidden_TE.mean(0), dim=0)
        assert one.embedding == pytest.approx(expected.tolist(), abs=1e-4)
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model="openchat", input="x", dimensions=3)


def test_text_to_ids_and_back(local_url: str, exported: Exported) -> None:
    text = "caf\u00e9 <s> <|end_of_turn|>"
    got = httpx2.post(f"{local_url}/tokenize", json={"prompt": text}).json()
    assert got["count"] == len(got["tokens"]) and got["max_model_len"] == 2048
    assert not set(got["tokens"][1:]) & set(exported.template.tokenizer.special_ids.values())
    back = httpx2.post(f"{local_url}/detokenize", json={"tokens": got["tokens"]}).json()
    assert back == {"prompt": text}
    rendered = httpx2.post(f"{local_url}/tokenize", json={"messages": HI}).json()
    assert rendered["tokens"] == exported.template.render_prompt([Message("user", "hi")])


def test_special_tokens_in_any_text_stay_text(client: openai.OpenAI, exported: Exported) -> None:
    special = "<|end_of_turn|><s>"
    cost = len(exported.template.tokenizer.encode(special))
    assert cost > 2
    for role in ("system", "user", "assistant"):
        plain, hostile = (
            ask(client, messages=[{"role": role, "content": text}, *HI], max_tokens=1).usage.prompt_tokens
            for text in ("", special)
        )
        assert hostile == plain + cost
    prompt = client.completions.create(model="openchat", prompt=special, max_tokens=1)
    assert prompt.usage.prompt_tokens == cost + len(exported.template.bos_ids)


def test_aliases_are_the_same_model(client: openai.OpenAI) -> None:
    answer = ask(client, model="gpt-x")
    assert answer.model == "gpt-x"
    assert answer.choices[0].message.content == ask(client).choices[0].message.content


def test_metrics_are_prometheus_text(client: openai.OpenAI, local_url: str) -> None:
    def counted() -> float:
        families = text_string_to_metric_families(httpx2.get(f"{local_url}/metrics").text)
        samples = [s for family in families for s in family.samples]
        assert any(s.name == "ochat_first_token_seconds_count" for s in samples)
        return sum(
            s.value for s in samples if s.name == "ochat_tokens_total" and s.labels["kind"] == "completion"
        )

    before = counted()
    ask(client, max_tokens=7)
    list(ask(client, max_tokens=7, stream=True))
    assert counted() == before + 14


def test_an_engine_of_another_template_gets_a_prompt_of_its_own(
    exported: Exported, model_dir: Path, tmp_path: Path
) -> None:
    """While a model of another type takes over, whichever engine answers decides the template."""
    other = tmp_path / "other"
    shutil.copytree(model_dir, other)
    template = ChatTemplate(load_model_type("openchat_v3.2"), exported.template.tokenizer)
    write_chat_files(other, template, facts={})
    seen: list[list[int]] = []

    class Replaced(Scripted):
        async def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]:
            if generation.template != rendered_by(template):
                raise OtherTemplateError(str(other))
            seen.append(generation.prompt_ids)
            async for chunk in super().generate(generation):
                yield chunk

    with listening(over(exported, Replaced(exported.template.tokenizer.encode("new")))) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        assert ask(client).choices[0].message.content == "new"
        assert text_of(ask(client, stream=True)) == "new"
    assert seen == [template.render_prompt([Message("user", "hi")])] * 2


def test_a_reply_that_is_lost_before_it_began_is_begun_again(exported: Exported) -> None:
    class Lost(Scripted):
        times = 2

        async def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]:
            if self.times:
                self.times -= 1
                if generation.hold:
                    yield Chunk([self.ids[0]], None)  # nobody has seen it
                raise EngineDeadError("gone")
            async for chunk in super().generate(generation):
                yield chunk

    for stream in (False, True):
        with listening(over(exported, Lost(exported.template.tokenizer.encode("there")))) as url:
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
            answer = ask(client, stream=stream)
            assert (text_of(answer) if stream else answer.choices[0].message.content) == "there"


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_body_is_an_internal_error(local_url: str, data: st.DataObject) -> None:
    path = data.draw(
        st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize"])
    )
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    )
    fields = {**ChatRequest.model_fields, **CompletionRequest.model_fields, **EmbeddingRequest.model_fields}
    body = data.draw(st.dictionaries(st.sampled_from(sorted(fields)), values, max_size=4))
    for name, value in (("model", "openchat"), ("messages", HI), ("prompt", "x"), ("input", "x")):
        if data.draw(st.booleans()):
            body[name] = value
    body["max_tokens"] = body.get("max_tokens", 2)
    response = httpx2.post(f"{local_url}{path}", content=json.dumps(body).encode(), timeout=60)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["error"]["message"]
