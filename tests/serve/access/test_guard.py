"""All of it together: CORS, ids of requests, the log, streams."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ochat_ray.config.access import AccessConfig
from ochat_ray.serve.access.guard import guard
from tests.serve.access.conftest import Application, guarded, with_key
from tests.serve.conftest import listening

ASK = "/v1/chat/completions"
SITE = "https://example.com"
FACTS: dict[str, Any] = {
    **{"model": "openchat", "stream": False, "prompt_tokens": 5, "completion_tokens": 7, "cached_tokens": 2},
    **{"first_token_s": 0.25, "finish_reason": "stop"},
}
SAID: dict[str, Any] = {"messages": [{"role": "user", "content": "the secret"}], "reply": "the answer"}


def test_each_chunk_is_passed_on_at_once(tmp_path: Path) -> None:
    path, header = with_key(tmp_path, tokens_per_minute=10**6)
    header["origin"] = SITE
    with (
        guarded(tmp_path, keys_file=path, cors_origins=[SITE]) as site,
        site.client.stream("POST", "/v1/stream", headers=header, content=b"{}") as answer,
    ):
        chunks = answer.iter_text()
        for number in range(1, 4):
            assert next(chunks) == f"data: {number}\n\n"  # the next comes only now
            site.application.next_chunk()
        assert list(chunks) == []


def test_a_preflight_needs_no_key_and_names_what_is_allowed(tmp_path: Path) -> None:
    path, _ = with_key(tmp_path)
    asked = {
        "origin": SITE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }
    with guarded(tmp_path, keys_file=path, cors_origins=[SITE]) as site:
        answer = site.client.options(ASK, headers=asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == SITE
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == asked["access-control-request-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        other = site.client.options(ASK, headers={**asked, "origin": "https://evil.example"})
        assert other.status_code == 400 and "access-control-allow-origin" not in other.headers
    with guarded(tmp_path, keys_file=path) as site:
        answer = site.client.options(ASK, headers=asked)
        assert answer.status_code == 401 and "access-control-allow-origin" not in answer.headers


def test_browsers_can_read_errors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, header = with_key(tmp_path, requests_per_minute=4)
    settings = {"keys_file": path, "cors_origins": [SITE], "max_body_mb": 0.001}
    with guarded(tmp_path, **settings) as site:
        mine = {**header, "origin": SITE}
        with caplog.at_level(logging.CRITICAL):
            answers = [
                site.client.post(ASK, content=b"x", headers={"origin": SITE}),
                site.client.post(ASK, content=b"x" * 2000, headers=mine),
                site.client.get("/nothing", headers=mine),
                site.client.get("/v1/broken", headers={**mine, "connection": "close"}),
                site.client.get("/v1/models", headers=mine),
                site.client.get("/v1/models", headers=mine),
            ]
        assert [answer.status_code for answer in answers] == [401, 413, 404, 500, 200, 429]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == SITE
            exposed = answer.headers["access-control-expose-headers"]
            assert "retry-after" in exposed and "x-ratelimit-remaining-tokens" in exposed
            assert "x-request-id" in answer.headers
        # Others get no answer that their page could read.
        other = site.client.get("/health", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_ids_are_the_client_s_or_made_and_are_on_every_answer(tmp_path: Path) -> None:
    path, header = with_key(tmp_path)
    with guarded(tmp_path, keys_file=path, cors_origins=[SITE]) as site:
        mine = {**header, "x-request-id": "mine-1"}
        answer = site.client.post(ASK, content=b"x", headers=mine)
        assert answer.headers.get_list("x-request-id") == ["mine-1"] and answer.json()["id"] == "mine-1"
        other = site.client.post(ASK, content=b"x", headers={**header, "x-request-id": "x" * 129})
        assert other.headers["x-request-id"].startswith("req_")
        refused = site.client.post(ASK, content=b"x", headers={"x-request-id": "mine-2"})
        assert refused.status_code == 401 and refused.headers["x-request-id"] == "mine-2"
        logged = [line["request_id"] for line in site.lines(3)]
        assert logged == ["mine-1", other.headers["x-request-id"], "mine-2"]


def test_a_proxy_that_answers_with_the_id_is_left_to_it() -> None:
    app = guard(Application().asgi, AccessConfig(), answer_request_id=False)
    with listening(app) as url:
        answer = httpx2.post(f"{url}{ASK}", content=b"x", headers={"x-request-id": "mine"}, trust_env=False)
    assert "x-request-id" not in answer.headers and answer.json()["id"] == "mine"


@pytest.mark.parametrize("content", ["none", "hashed", "full"])
def test_a_line_says_all_of_a_request_and_never_a_key(tmp_path: Path, content: str) -> None:
    path, header = with_key(tmp_path)
    with guarded(tmp_path, keys_file=path, log={"content": content}) as site:
        site.client.post(f"{ASK}?key=hidden", json={**FACTS, **SAID}, headers=header)
        (line,) = site.lines(1)
        text = json.dumps(line)
        assert header["authorization"].removeprefix("Bearer ") not in text and "hidden" not in text
        facts = {**FACTS, "first_token_ms": 250.0}
        del facts["first_token_s"]
        assert {name: line[name] for name in facts} == facts
        assert (line["key"], line["method"], line["path"], line["status"]) == ("alice", "POST", ASK, 200)
        assert (line["client"], line["error_code"], line["disconnect"]) == ("127.0.0.1", None, False)
        assert line["duration_ms"] > 0 and line["time"].endswith("+00:00") and line["process"] > 0
        assert ("the secret" in text, "the answer" in text) == (content == "full",) * 2
        assert ("messages" in line) == (content != "none")


def test_probes_that_go_well_are_not_logged(tmp_path: Path) -> None:
    with guarded(tmp_path) as site:
        for path in ("/health", "/metrics", "/ready", "/v1/models"):
            site.client.get(path)
        assert [line["path"] for line in site.lines(2)] == ["/ready", "/v1/models"]  # there is no /ready here


def test_no_log_is_written_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with listening(guard(Application().asgi, AccessConfig())) as url:
        assert httpx2.get(f"{url}/v1/models", trust_env=False).status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_what_the_server_keeps_in_its_state_stays_there() -> None:
    """Requests share what an application made as it started, and nothing else."""
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        seen.append(scope["state"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def nothing(*_: Any) -> None:
        return None

    shared = {"model": "loaded"}
    scope = {"type": "http", "method": "GET", "path": "/v1", "headers": [], "state": shared}
    for _ in range(2):
        asyncio.run(guard(app, AccessConfig())(scope, nothing, nothing))
    assert [state["model"] for state in seen] == ["loaded", "loaded"]
    assert seen[0]["account"] is not seen[1]["account"] and shared == {"model": "loaded"}
