"""The endpoints over a local engine, through OpenAI's own client and raw HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import openai
import pytest

from ochat_ray.conversation import Message
from ochat_ray.exported import Exported
from ochat_ray.serve.chat import ChatService
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    EngineStats,
    Generation,
    OverloadedError,
)
from ochat_ray.serve.http import create_api
from tests.serve.conftest import listening

HI: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def client(local_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{local_url}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, **changes: Any) -> Any:
    settings: dict[str, Any] = {"model": "openchat", "messages": HI, "max_tokens": 40, "temperature": 0}
    return client.chat.completions.create(**{**settings, **changes})


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
    assert "2048" in too_long.value.message
    with pytest.raises(openai.BadRequestError) as unknown:
        ask(client, stream=stream, extra_body={"typo": 1})
    assert unknown.value.param == "typo"
    with pytest.raises(openai.BadRequestError, match="takes none"):
        ask(client, stream=stream, extra_body={"condition": "GPT4"})


def test_raw_faults_have_openai_s_shape(local_url: str) -> None:
    url = f"{local_url}/v1/chat/completions"
    answers = {
        400: httpx2.post(url, content=b"{nope", headers={"Content-Type": "application/json"}),
        404: httpx2.get(f"{local_url}/v1/completions"),
        405: httpx2.get(url),
    }
    for status, response in answers.items():
        assert response.status_code == status
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
    assert answers[405].headers["allow"] == "POST"


def test_models_are_listed_and_looked_up(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["openchat"]
    assert client.models.retrieve("openchat").id == "openchat"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("org/other")


def test_a_stream_left_midway_frees_its_room(client: openai.OpenAI, local_url: str) -> None:
    stream = ask(client, stream=True, max_tokens=2000)
    next(iter(stream))
    assert httpx2.get(f"{local_url}/health").json()["running"] == 1
    stream.close()
    deadline = time.monotonic() + 30
    while (health := httpx2.get(f"{local_url}/health").json())["running"]:
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


def over(exported: Exported, backend: Any, timeout_s: float = 60.0) -> Any:
    return create_api(
        ChatService(exported.template, backend, model_name="openchat", longest=100, timeout_s=timeout_s)
    )


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
