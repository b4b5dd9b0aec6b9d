"""The whole endpoint on Ray Serve: what the local one cannot show."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import ray

from ochat_ray.config import ServeConfig
from ochat_ray.config.access import AccessConfig
from ochat_ray.config.serve import EngineConfig
from ochat_ray.config.web import ChatPageConfig
from ochat_ray.errors import CheckpointError, ConfigError
from ochat_ray.exported import Exported
from ochat_ray.serve import app, chat
from ochat_ray.serve.access.keys_file import add_key
from ochat_ray.serve.account import Account
from ochat_ray.serve.models import ServedModel
from ochat_ray.serve.protocol.chat import ChatRequest
from tests.ports import free_port

pytestmark = pytest.mark.usefixtures("ray_cluster")

PATIENCE_S = 120.0


def config(**changes: Any) -> ServeConfig:
    engine = EngineConfig(max_running=8, cache_tokens=8192, prefill_chunk=64)
    page = ChatPageConfig(enabled=False)
    return ServeConfig(
        **{"port": free_port(), "engine": engine, "max_queued": 24, "chat_page": page, **changes}
    )


def poll(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def base_url(model_dir: Path) -> Iterator[str]:
    yield app.deploy(model_dir, config())
    app.shutdown()


def health(base_url: str) -> httpx2.Response:
    return httpx2.get(base_url.removesuffix("/v1") + "/health", timeout=30)


def question(index: int) -> dict[str, Any]:
    content = f"question {index} " * (1 + 3 * index)
    return {
        "model": "openchat",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 20 + index,
        "temperature": 0,
    }


def endless(exported: Exported) -> dict[str, Any]:
    """A request that goes on for 2000 tokens."""
    return {**question(0), "max_tokens": 2000, "logit_bias": {str(exported.template.eot_id): -100}}


def local_answer(served: ServedModel, index: int) -> str:
    request = ChatRequest.model_validate(question(index))
    answer = asyncio.run(chat.answer(served, request, Account({})))
    content: str = answer["choices"][0]["message"]["content"]
    return content


def test_the_sync_client_gets_the_local_engine_s_text(base_url: str, served: ServedModel) -> None:
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
    whole = client.chat.completions.create(**question(1))
    assert whole.choices[0].message.content == local_answer(served, 1)
    stream = client.chat.completions.create(**question(1), stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == local_answer(served, 1)
    assert [model.id for model in client.models.list()] == ["openchat"]


def test_sixteen_streams_at_once_are_what_each_is_alone(base_url: str, served: ServedModel) -> None:
    client = openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)

    async def one(index: int) -> str:
        stream = await client.chat.completions.create(**question(index), stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(one(index) for index in range(16)))

    assert asyncio.run(all_at_once()) == [local_answer(served, index) for index in range(16)]


def test_several_replies_of_one_request_all_come(base_url: str) -> None:
    """Serve takes calls of one HTTP request for one, unless its router goes by order: so, often."""
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=60)
    for _ in range(8):
        answer = client.chat.completions.create(**{**question(0), "n": 4, "temperature": 1.0})
        assert len(answer.choices) == 4
        found = client.embeddings.create(model="openchat", input=["a", "b", "c"])
        assert len(found.data) == 3
        several = client.completions.create(model="openchat", prompt=["x", "y"], max_tokens=3)
        assert len(several.choices) == 2
        stream = client.chat.completions.create(**{**question(0), "n": 3}, stream=True)
        ended = [c.choices[0].index for c in stream if c.choices[0].finish_reason]
        assert sorted(ended) == [0, 1, 2]


@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_a_status_before_the_first_byte(base_url: str, stream: bool) -> None:
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
    with pytest.raises(openai.NotFoundError, match="openchat"):
        client.chat.completions.create(**{**question(0), "model": "gpt-4"}, stream=stream)
    long = [{"role": "user", "content": "a b c " * 2000}]
    with pytest.raises(openai.BadRequestError, match="2048"):
        client.chat.completions.create(**{**question(0), "messages": long}, stream=stream)
    invalid = httpx2.post(f"{base_url}/chat/completions", content=b"{nope")
    assert invalid.status_code == 400 and invalid.json()["error"]["code"] == "invalid_json"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_room(base_url: str, exported: Exported, stream: bool) -> None:
    body = {**endless(exported), "stream": stream}
    with httpx2.Client(timeout=30) as client:
        if stream:
            with client.stream("POST", f"{base_url}/chat/completions", json=body) as response:
                next(response.iter_bytes())
        else:
            with pytest.raises(httpx2.ReadTimeout):
                client.post(f"{base_url}/chat/completions", json=body, timeout=0.3)

    def idle() -> bool:
        facts = health(base_url).json()["models"]["openchat"]
        return bool(facts["running"] == 0 and facts["free_tokens"] == facts["cache_tokens"])

    poll(idle, "generation went on after the client left")


def test_a_burst_beyond_the_queue_is_told_to_come_back(base_url: str) -> None:
    async def burst() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(timeout=PATIENCE_S) as client:
            url = f"{base_url}/chat/completions"
            body = {**question(0), "max_tokens": 100}
            return await asyncio.gather(*(client.post(url, json=body) for _ in range(80)))

    answers = asyncio.run(burst())
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < len(answers)
    for answer in refused:
        assert answer.status_code == 429
        assert answer.headers["retry-after"]
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert len({answer.text.split('"content":')[1] for answer in answers if answer not in refused}) == 1


def test_a_lost_engine_is_told_and_replaced(base_url: str, exported: Exported) -> None:
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
    stream = client.chat.completions.create(**endless(exported), stream=True)
    next(iter(stream))
    (name,) = engines()
    ray.kill(ray.get_actor(name, namespace="serve"))
    with pytest.raises(openai.APIError, match="engine"):
        list(stream)
    retrying = openai.OpenAI(base_url=base_url, api_key="none", max_retries=20)
    assert retrying.chat.completions.create(**question(1)).choices[0].message.content
    poll(lambda: health(base_url).status_code == 200, "the engine never came back")


def engines() -> set[str]:
    """The names of the engine replicas that are alive."""
    names = (actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True))
    return {name for name in names if f"{app.APP_NAME}#{app.ENGINE}#" in name}


def names_at(asked: ServeConfig) -> list[str]:
    models = httpx2.get(f"http://127.0.0.1:{asked.port}/v1/models", timeout=30)
    return [model["id"] for model in models.json()["data"]] if models.status_code == 200 else []


def answers(asked: ServeConfig) -> bool:
    url = f"http://127.0.0.1:{asked.port}/v1/chat/completions"
    return httpx2.post(url, json=question(1), timeout=PATIENCE_S).status_code == 200


@contextmanager
def failures_of(asked: ServeConfig, *, count: bool = True) -> Iterator[None]:
    """Ask for /health all the while; no answer may be bad if they `count`."""
    over = threading.Event()
    statuses: Counter[int] = Counter()
    told: list[str] = []

    def ask() -> None:
        while not over.is_set():
            answer = health(f"http://127.0.0.1:{asked.port}/v1")
            statuses[answer.status_code] += 1
            if answer.status_code != 200:
                told.append(answer.text)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert statuses[200]
    assert not count or set(statuses) == {200}, told


class TestDeployment:
    """What `deploy` refuses. Each with a message of one line that says what to do."""

    @pytest.fixture(autouse=True)
    def _take_down(self) -> Iterator[None]:
        yield
        app.shutdown()

    def test_a_folder_whose_template_was_changed(self, exported: Exported, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        shutil.copytree(exported.folder, folder)
        path = folder / "ochat.json"
        facts = json.loads(path.read_text())
        facts["model_type"]["user_prefix"] = "Person: "
        path.write_text(json.dumps(facts))
        with pytest.raises(CheckpointError, match="template_hash"):
            app.deploy(folder, config())

    def test_a_folder_whose_weights_cannot_be_read(self, model_dir: Path, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        shutil.copytree(model_dir, folder)
        (folder / "model.safetensors").write_bytes(b"nonsense")
        with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
            app.deploy(folder, config())
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)

    def test_a_busy_port(self, model_dir: Path) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(ConfigError, match=rf"port {port}.*serve\.port"):
                app.deploy(model_dir, config(port=port))

    def test_serve_ends_in_time_whatever_still_runs(
        self, model_dir: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base_url = app.deploy(model_dir, config())
        client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
        stream = client.chat.completions.create(**endless(exported), stream=True)
        next(iter(stream))
        monkeypatch.setattr(app, "SHUTDOWN_TIMEOUT_S", 0.0)
        app.shutdown()
        actors = ray.util.list_named_actors(all_namespaces=True)
        assert not [actor for actor in actors if actor["namespace"] == "serve"]
        assert app.deploy(model_dir, config())

    def test_a_private_cluster_that_is_too_small(self, model_dir: Path) -> None:
        with pytest.raises(ConfigError, match=r"64 CPU\(s\).*serve\.engine\.threads"):
            app.deploy(model_dir, config(engine=EngineConfig(threads=64)))

    def test_a_cluster_that_may_grow_is_waited_for(
        self, model_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(app, "fixed", lambda: False)
        monkeypatch.setattr(app, "TELL_EVERY_S", 0.5)
        told = []

        def waiting(replicas: str) -> str:
            told.append(line := say(replicas))
            if len(told) == 3:
                raise KeyboardInterrupt
            return line

        say = app._waiting
        monkeypatch.setattr(app, "_waiting", waiting)
        with pytest.raises(KeyboardInterrupt):
            app.deploy(model_dir, config(engine=EngineConfig(threads=64)))
        assert (
            "waiting for a place for 1 engine replica(s) of 64 CPU(s) and 0 GPU(s)" in capfd.readouterr().err
        )


class TestRedeployment:
    """A version that is up stays up when the next one fails, whoever started Serve."""

    @pytest.fixture
    def up(self, model_dir: Path) -> Iterator[ServeConfig]:
        asked = config()
        app.deploy(model_dir, asked)
        yield asked
        app.shutdown()

    @pytest.mark.parametrize("room", [True, False])
    def test_bad_weights(
        self, up: ServeConfig, model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool
    ) -> None:
        folder = tmp_path / "model"
        shutil.copytree(model_dir, folder)
        (folder / "model.safetensors").write_bytes(b"nonsense")
        if not room:  # the old engine has to give way first
            monkeypatch.setattr(ray, "available_resources", dict)
        before = engines()
        with failures_of(up, count=room), pytest.raises(CheckpointError, match="cannot be loaded"):
            app.deploy(folder, up.model_copy(update={"model_name": "new"}))
        poll(lambda: names_at(up) == ["openchat"] and answers(up), "the former version did not come back")
        if room:
            assert engines() == before

    def test_an_interrupted_wait(
        self, up: ServeConfig, model_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        before = engines()
        monkeypatch.setattr(app, "_wait_for_replicas", interrupted)
        with failures_of(up), pytest.raises(KeyboardInterrupt):
            app.deploy(model_dir, up)
        poll(lambda: engines() == before, "the former engine is not the only one")
        assert answers(up)

    def test_a_new_version_takes_over_without_a_gap(self, up: ServeConfig, model_dir: Path) -> None:
        before = engines()
        with failures_of(up):
            app.deploy(model_dir, up.model_copy(update={"model_name": "new"}))
            poll(lambda: names_at(up) == ["new"], "the former ingress still answers")
        poll(lambda: not before & engines(), "the former engine was left")


def test_an_endpoint_with_keys_is_not_replaced_by_one_without(model_dir: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    key = add_key(keys, "alice")
    settings = config(access=AccessConfig(keys_file=str(keys)))
    url = app.deploy(model_dir, settings)
    try:
        with pytest.raises(ConfigError, match=r"asks for keys.*serve\.access\.keys_file"):
            app.deploy(model_dir, settings.replace(access=AccessConfig()))
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=url, api_key="none", max_retries=0).models.list()
        assert openai.OpenAI(base_url=url, api_key=key, max_retries=0).models.list().data
    finally:
        app.shutdown()
