# mypy: ignore-errors
# The packages that this imports are in an environment of its own.
"""Cases of the llm command, with the endpoint in its extra-openai-models.yaml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = os.environ["CLIENTS_MODEL"]


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {
        "model_id": "local",
        "model_name": MODEL,
        "api_base": f"{os.environ['CLIENTS_URL']}/v1",
        "supports_tools": True,
        "supports_schema": True,
    }
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([entry]))  # JSON is YAML
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def llm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "llm", *words], capture_output=True, text=True, timeout=120)


def said(*words: str) -> str:
    done = llm(*words)
    assert done.returncode == 0, done.stderr[-300:]
    return done.stdout


@pytest.mark.parametrize("more", [[], ["--no-stream"], ["-s", "Be brief."]])
def test_prompt(more: list[str]) -> None:
    said("-m", "local", "-o", "max_tokens", "50", *more, "hi")


def test_models_are_listed() -> None:
    assert "local" in said("models")


def test_conversation_goes_on() -> None:
    said("-m", "local", "-o", "max_tokens", "20", "hi")
    said("-c", "-o", "max_tokens", "20", "and then?")


@pytest.mark.parametrize("more", [[], ["--no-stream"]])
def test_schema(more: list[str]) -> None:
    text = said("-m", "local", "--schema", "days int, count int", "-o", "max_tokens", "300", *more, "hi")
    assert set(json.loads(text)) == {"days", "count"}


def test_tools_are_offered() -> None:
    said("-m", "local", "-T", "llm_version", "-o", "max_tokens", "50", "hi")


def test_error_is_told() -> None:
    done = llm("-m", "local", "-o", "temperature", "2", "-o", "max_tokens", "999999999999", "hi")
    assert done.returncode and "max_tokens" in done.stderr
