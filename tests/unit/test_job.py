"""Metadata of submitted jobs where there is none to tell; real ones are in tests/cluster/test_jobs.py."""

from __future__ import annotations

import json

import pytest

from ochat_ray.job import tell_job
from ochat_ray.progress import JOB_CONFIG, submission_id


def test_what_was_not_submitted_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JOB_CONFIG, raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert submission_id() is None
    tell_job(result="run/model")


def test_work_that_is_done_does_not_fail_for_its_metadata(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(JOB_CONFIG, json.dumps({"metadata": {"job_submission_id": "run-7"}}))
    monkeypatch.setenv("RAY_ADDRESS", "no address")
    assert submission_id() == "run-7"
    tell_job(result="run/model")
    assert "metadata could not be written" in capsys.readouterr().err
