"""The service under load: lost replicas, updates, scaling, several models. Real Ray Serve, real HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import psutil
import pytest
from ray import serve

from ochat_ray.config.serve import AutoscalingConfig
from ochat_ray.config.web import ChatPageConfig
from ochat_ray.exported import Exported, write_chat_files
from ochat_ray.model_types import load_model_type
from ochat_ray.serve import app
from ochat_ray.template import ChatTemplate
from tests.serve.test_app import PATIENCE_S, config, endless, engines, poll, question

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(autouse=True)
def _take_down() -> Iterator[None]:
    yield
    app.shutdown()


class Load:
    """Clients that ask one after the other, until told to stop."""

    def __init__(self, url: str, clients: int, *, model: str = "openchat", stream: bool = False) -> None:
        self.url, self.model, self.stream = url, model, stream
        self.outcomes: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(clients)]

    def _ask(self, number: int) -> None:
        client = openai.OpenAI(base_url=self.url, api_key="none", max_retries=0, timeout=PATIENCE_S)
        while not self._over.is_set():
            try:
                body = {**question(number % 8), "model": self.model}
                answer = client.chat.completions.create(**body, stream=self.stream)
                if self.stream:
                    text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
                else:
                    text = answer.choices[0].message.content
                self.texts[f"{number % 8}: {text}"] += 1
                self.outcomes["ok"] += 1
            except openai.APIError as error:
                self.outcomes[str(error)[:200]] += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def engine_pids() -> list[int]:
    """Processes of the engine replicas, which Ray calls by application and deployment."""
    title = f"ray::ServeReplica:{app.APP_NAME}:{app.ENGINE}"
    return [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if process.cmdline() and process.cmdline()[0].startswith(title)
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_a_killed_replica_loses_nothing_that_had_not_begun(model_dir: Path, stream: bool) -> None:
    url = app.deploy(model_dir, config(replicas=2))
    with Load(url, 8, stream=stream) as load:
        poll(lambda: load.outcomes["ok"] >= 20, "the load never began")
        pids = engine_pids()
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGKILL)
        done = load.outcomes["ok"]
        poll(lambda: load.outcomes["ok"] >= done + 40, "answers stopped")
    errors = {text: count for text, count in load.outcomes.items() if text != "ok"}
    if stream:
        # Those that were being streamed end in an error; each client had one at most.
        assert sum(errors.values()) <= 8 and all("engine" in text for text in errors), errors
    else:
        assert not errors
    assert len(load.texts) == 8, "an answer came out differently"


@pytest.mark.slow
def test_replicas_come_and_go_with_the_load(model_dir: Path) -> None:
    scaling = AutoscalingConfig(
        min_replicas=1, max_replicas=3, target_requests=2, upscale_delay_s=1, downscale_delay_s=2
    )
    url = app.deploy(model_dir, config(autoscaling=scaling, max_queued=200))

    def running() -> int:
        found = serve.status().applications[app.APP_NAME].deployments[app.ENGINE]
        return found.replica_states.get("RUNNING", 0)

    with Load(url, 24) as load:
        poll(lambda: running() >= 2, "no replica was added")
    poll(lambda: running() == 1, "the replicas stayed")
    assert set(load.outcomes) == {"ok"}


@pytest.mark.slow
def test_none_is_kept_while_nobody_asks_and_health_wakes_nobody(model_dir: Path) -> None:
    scaling = AutoscalingConfig(min_replicas=0, max_replicas=1, upscale_delay_s=0.5, downscale_delay_s=1)
    url = app.deploy(model_dir, config(autoscaling=scaling))
    base = url.removesuffix("/v1")
    poll(lambda: not engines(), "the engine stayed")
    for _ in range(5):
        assert httpx2.get(f"{base}/health", timeout=30).json()["status"] == "ok"
    assert not engines()
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=PATIENCE_S)
    assert client.chat.completions.create(**question(1)).choices[0].message.content


def test_one_process_answers_as_two_do(model_dir: Path, exported: Exported) -> None:
    url = app.deploy(model_dir, config())
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    expected = client.chat.completions.create(**question(3)).choices[0].message.content
    app.shutdown()
    asked = config(one_hop=True)
    url = app.deploy(model_dir, asked)
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    assert not engines()
    assert client.chat.completions.create(**question(3)).choices[0].message.content == expected
    stream = client.chat.completions.create(**endless(exported), stream=True)
    next(iter(stream))
    stream.close()

    def idle() -> bool:
        facts = httpx2.get(f"{url.removesuffix('/v1')}/health", timeout=30).json()["models"]["openchat"]
        return bool(facts["running"] == 0)

    poll(idle, "generation went on after the client left")


def of_another_type(model_dir: Path, exported: Exported, folder: Path) -> Path:
    """The same weights with the template of another model type."""
    shutil.copytree(model_dir, folder)
    write_chat_files(folder, ChatTemplate(load_model_type("openchat_v3.2"), exported.template.tokenizer), {})
    return folder


def test_several_models_side_by_side(model_dir: Path, exported: Exported, tmp_path: Path) -> None:
    other = of_another_type(model_dir, exported, tmp_path / "other")
    url = app.deploy(model_dir, config(aliases={"gpt-x": "other"}), {"other": other})
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["openchat", "other", "gpt-x"]
    texts = {
        name: client.chat.completions.create(**{**question(2), "model": name}).choices[0].message.content
        for name in ("openchat", "other", "gpt-x")
    }
    assert texts["openchat"] != texts["other"] == texts["gpt-x"]


def test_an_update_to_another_template_loses_no_request_and_mixes_none(
    model_dir: Path, exported: Exported, tmp_path: Path
) -> None:
    other = of_another_type(model_dir, exported, tmp_path / "other")
    asked = config(model_name="m")
    url = app.deploy(model_dir, asked)
    with Load(url, 6, model="m", stream=True) as load:
        poll(lambda: load.outcomes["ok"] >= 30, "the load never began")
        before = set(load.texts)
        app.deploy(other, asked)
        done = load.outcomes["ok"]
        poll(lambda: load.outcomes["ok"] >= done + 30, "answers stopped")
    assert set(load.outcomes) == {"ok"}
    with Load(url, 6, model="m", stream=True) as after:
        poll(lambda: after.outcomes["ok"] >= 12, "answers stopped")
    assert not before & set(after.texts), "the new model answers as the old one did"
    # Every answer is the old model's over its template or the new one's over its own.
    assert set(load.texts) <= before | set(after.texts)


def test_the_chat_page_stands_beside_the_endpoint(model_dir: Path) -> None:
    url = app.deploy(model_dir, config(chat_page=ChatPageConfig()))
    base = url.removesuffix("/v1")
    poll(
        lambda: httpx2.get(f"{base}/chat", timeout=60, follow_redirects=True).status_code in (200, 501),
        "no page",
    )
    first = httpx2.get(f"{base}/", timeout=60)
    assert (first.status_code, first.headers["location"]) == (307, "/chat")
    assert httpx2.get(f"{base}/widget.js", timeout=60).status_code == 200
    assert httpx2.get(f"{base}/v1/models", timeout=60).status_code == 200
