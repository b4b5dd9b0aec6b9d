"""What submitting says where it cannot; real submissions are in tests/cluster/test_jobs.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import AuthenticationError, RpcError

from ochat_ray import submit as module
from ochat_ray.cli import main
from ochat_ray.submit import LOST, submit

PACK = ["a", "b"]


def client(monkeypatch: pytest.MonkeyPatch, made: Any) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", made)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AuthenticationError("Authentication failed: Forbidden"), "asks for its token, or for another one"),
        (RpcError("timed out", 4), "no cluster answers"),
    ],
)
def test_a_cluster_that_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    def refused(_: str) -> None:
        raise error

    client(monkeypatch, refused)
    assert main(["submit", "pack", *PACK]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


@pytest.mark.parametrize("url", ["", "127.0.0.1:8265"])
def test_a_cluster_has_a_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", url)
    assert main(["submit", "pack", *PACK]) == 2
    assert "give the dashboard's URL, such as http://127.0.0.1:8265" in capsys.readouterr().err


def test_a_cluster_that_goes_away_while_it_is_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def gone(*_: object) -> None:
        raise ConnectionError("connection refused")

    monkeypatch.setattr(module, "_tail", gone)
    made = SimpleNamespace(submit_job=lambda **_: "run-7", get_address=lambda: "http://127.0.0.1:9")
    client(monkeypatch, lambda _: made)
    assert submit("pack", PACK, cluster=None, submission_id=None) == LOST
    assert "follow it with `ochat-ray submit --id run-7 pack a b`" in capsys.readouterr().err
