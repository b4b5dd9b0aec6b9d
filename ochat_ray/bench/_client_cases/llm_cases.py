# mypy: ignore-errors
# The packages that this imports are in an environment of its own.
"""Simon Willison's `llm`: the command, with the endpoint in extra-openai-models.yaml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SETTINGS = f"""\
- model_id: here
  model_name: {os.environ["CLIENTS_MODEL"]}
  api_base: {os.environ["CLIENTS_URL"]}/v1
  supports_schema: true
  supports_tools: true
- model_id: plain
  model_name: {os.environ["CLIENTS_MODEL"]}
  api_base: {os.environ["CLIENTS_URL"]}/v1
  completion: true
"""
HOW = pytest.mark.parametrize("how", [[], ["--no-stream"]], ids=["streamed", "whole"])
FUNCTIONS = "def weather(city: str) -> str:\n    'The weather of a place'\n    return 'sun in ' + city\n"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "extra-openai-models.yaml").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    yield


def llm(*words: str, code: int = 0, given: str = "") -> str:
    command = [str(Path(sys.executable).parent / "llm"), *words]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_models_are_known() -> None:
    assert "here" in llm("models")


@HOW
def test_prompt(how: list[str]) -> None:
    assert llm("-m", "here", *how, "Hello there").strip()


def test_system_prompt_and_pipe() -> None:
    assert llm("-m", "here", "-s", "Be brief.", given="some text").strip()


def test_options() -> None:
    words = ["-m", "here", "Hello", "-o", "temperature", "0", "-o", "max_tokens", "5", "-o", "seed", "2"]
    assert llm(*words) == llm(*words)


def test_conversation_goes_on() -> None:
    llm("-m", "here", "Hello there")
    assert llm("-c", "And then?").strip()


def test_usage_is_logged() -> None:
    llm("-m", "here", "Hello there")
    (entry,) = json.loads(llm("logs", "--json"))
    assert entry["input_tokens"] > 0 and entry["output_tokens"] > 0


@HOW
def test_schema(how: list[str]) -> None:
    answer = json.loads(llm("-m", "here", *how, "--schema", "city, days int", "A place"))
    assert set(answer) == {"city", "days"}


@HOW
def test_tools_are_offered(how: list[str]) -> None:
    # Whether one is called is the model's to say; the command cannot require it.
    llm("-m", "here", *how, "--functions", FUNCTIONS, "What is the weather?")


def test_completion_model() -> None:
    assert llm("-m", "plain", "Once").strip()


def test_faults_are_shown() -> None:
    assert "no token 999999" in llm("-m", "here", "Hello", "-o", "logit_bias", '{"999999": 1}', code=1)
