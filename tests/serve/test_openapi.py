"""The page of the API says what the endpoint does."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from ochat_ray.errors import RequestError
from ochat_ray.serve.protocol.chat import ChatRequest
from ochat_ray.serve.protocol.common import parse_body

HI = [{"role": "user", "content": "hi"}]
MINIMAL: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "openchat", "messages": HI},
    "/v1/completions": {"model": "openchat", "prompt": "hi"},
    "/v1/embeddings": {"model": "openchat", "input": "hi"},
    "/tokenize": {"prompt": "hi"},
    "/detokenize": {"tokens": [5]},
    "/widget/handoff": {"conversation": [{"role": "user", "content": "hi"}]},
}
# Of each, what is asked for and takes a shape of its own.
MORE: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"logprobs": True, "top_logprobs": 2, "n": 2, "stop": "x"}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}),
    ("/v1/completions", {"prompt": ["a", "b"], "logprobs": 2, "stop": ["x"]}),
    ("/v1/completions", {"prompt": [5, 6]}),
    ("/v1/embeddings", {"input": [[5, 6]], "encoding_format": "base64"}),
    ("/tokenize", {"prompt": None, "messages": HI}),
]


@pytest.fixture(scope="module")
def page(local_url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(f"{local_url}/openapi.json").json()
    return found


def schema_at(page: dict[str, Any], content: dict[str, Any], kind: str = "application/json") -> Validator:
    return Draft202012Validator({**page, **content["content"][kind]["schema"]})


def test_the_page_is_valid(page: dict[str, Any]) -> None:
    Draft202012Validator.check_schema({"$defs": page["components"]["schemas"]})
    with contextlib.suppress(ImportError):  # no package that the tests need brings it along
        from openapi_spec_validator import validate

        validate(page)
    posts = {path for path, operations in page["paths"].items() if "post" in operations}
    assert posts == set(MINIMAL)
    for path, operations in page["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            assert {"200", "400", "401", "429", "503"} <= set(responses), path
            assert all(content["schema"] for content in responses["200"]["content"].values()), path


@pytest.mark.parametrize("path", MINIMAL)
def test_bodies_take_the_least_and_nothing_unknown(page: dict[str, Any], path: str) -> None:
    body = schema_at(page, page["paths"][path]["post"]["requestBody"])
    body.validate(MINIMAL[path])
    assert not body.is_valid({**MINIMAL[path], "typo": 1})
    assert not body.is_valid([])
    for required in MINIMAL[path]:
        left = {name: value for name, value in MINIMAL[path].items() if name != required}
        assert not body.is_valid(left)
    if "model" in MINIMAL[path]:
        assert not body.is_valid({**MINIMAL[path], "model": "other"})


@pytest.mark.parametrize(("path", "changes"), [*((path, {}) for path in MINIMAL), *MORE])
def test_answers_are_as_the_page_says(
    page: dict[str, Any], local_url: str, path: str, changes: dict[str, Any]
) -> None:
    body = {**MINIMAL[path], **changes}
    operation = page["paths"][path]["post"]
    schema_at(page, operation["requestBody"]).validate(body)
    if "stop" in body or path in ("/v1/chat/completions", "/v1/completions"):
        body["max_tokens"] = 4
    answer = httpx2.post(f"{local_url}{path}", json=body, timeout=60)
    assert answer.status_code == (404 if path == "/widget/handoff" else 200)
    schema_at(page, operation["responses"][str(answer.status_code)]).validate(answer.json())
    refused = httpx2.post(f"{local_url}{path}", json={**body, "typo": 1}, timeout=60)
    if path != "/widget/handoff":
        assert refused.status_code == 400
        schema_at(page, operation["responses"]["400"]).validate(refused.json())


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/openchat", "/health", "/ready", "/widget/config"])
def test_what_is_read_is_as_the_page_says(page: dict[str, Any], local_url: str, path: str) -> None:
    documented = page["paths"][path.replace("/openchat", "/{name}")]["get"]["responses"]["200"]
    schema_at(page, documented).validate(httpx2.get(f"{local_url}{path}").json())


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/widget.js"])
def test_other_types_of_content_are_named(page: dict[str, Any], local_url: str, path: str) -> None:
    if path == "/widget.js":
        answer, method = httpx2.get(f"{local_url}{path}"), "get"
    else:
        body = {**MINIMAL[path], "stream": True, "max_tokens": 2}
        answer, method = httpx2.post(f"{local_url}{path}", json=body, timeout=60), "post"
    kinds = page["paths"][path][method]["responses"]["200"]["content"]
    assert answer.headers["content-type"].partition(";")[0] in kinds


def test_calls_are_as_the_page_says(page: dict[str, Any], local_url: str) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra json")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"enum": [{}]}}}
    asked = {"tools": [tool], "tool_choice": "required", "max_tokens": 100}
    path = "/v1/chat/completions"
    answer = httpx2.post(f"{local_url}{path}", json={**MINIMAL[path], **asked}, timeout=60).json()
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    schema_at(page, page["paths"][path]["post"]["responses"]["200"]).validate(answer)


def test_messages_are_as_the_page_says(page: dict[str, Any]) -> None:
    schema = schema_at(page, page["paths"]["/v1/chat/completions"]["post"]["requestBody"])
    call = {"id": "1", "type": "function", "function": {"name": "a", "arguments": "{}"}}
    user = {"role": "user", "content": "x"}
    good: list[dict[str, Any]] = [
        {**user, "name": "Ada"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "content": "x", "tool_calls": None},
        {"role": "tool", "content": "x", "tool_call_id": "1"},
    ]
    bad: list[dict[str, Any]] = [
        {"role": "user"},
        {**user, "content": None},
        {**user, "tool_calls": [call]},
        {**user, "tool_call_id": "1"},
        {"role": "assistant", "content": None},
        {"role": "tool", "content": "x"},
    ]
    for message in [*good, *bad]:
        body = {"model": "openchat", "messages": [message]}
        assert schema.is_valid(body) == (message in good), message
        if message in good:
            parse_body(ChatRequest, json.dumps(body).encode())
        else:
            with pytest.raises(RequestError):
                parse_body(ChatRequest, json.dumps(body).encode())
