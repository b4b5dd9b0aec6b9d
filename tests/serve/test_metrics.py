"""What the node of an endpoint tells Prometheus of it."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from ochat_ray.serve import app
from tests.exposed import eventually, grown, totals
from tests.serve.test_app import config

pytestmark = pytest.mark.usefixtures("ray_cluster")

MODEL = "measured"  # other tests' requests are of other models


def test_requests_of_all_processes_and_what_engines_do_are_told(model_dir: Path) -> None:
    before = totals("replica")
    url = app.deploy(model_dir, config(ingress_replicas=2, model_name=MODEL))
    try:
        prompt = {"model": MODEL, "prompt": "hello", "max_tokens": 5, "temperature": 0}
        answers = [httpx2.post(f"{url}/completions", json=prompt, timeout=60).json() for _ in range(3)]
        assert httpx2.post(f"{url}/completions", json={**prompt, "stream": True}, timeout=60).text

        requests = ("ray_ochat_requests_total", "200")
        eventually(lambda: totals("status", model=MODEL).get(requests), 4.0)
        assert totals("", model=MODEL)["ray_ochat_first_token_seconds_count", ""] == 1
        assert totals("", model=MODEL)["ray_ochat_request_seconds_count", ""] == 4

        generated = 4.0 * answers[0]["usage"]["completion_tokens"]
        counter = "ray_ochat_engine_generated_tokens_total"
        eventually(lambda: generated in grown(counter, "replica", before).values(), True)
        new = next(name for name, value in grown(counter, "replica", before).items() if value == generated)
        assert totals("replica")["ray_ochat_engine_cache_capacity_tokens", new] == 8192
        assert totals("replica")["ray_ochat_engine_waiting_requests", new] == 0
    finally:
        app.shutdown()
