"""Batch inference of files, as a user runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.cli import main
from tests.serve.conftest import model_dir  # noqa: F401


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def request(name: str, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"hello {name}"}]
    return {"custom_id": name, "method": "POST", "body": {"messages": messages, "max_tokens": 4, **body}}


@pytest.mark.usefixtures("ray_cluster")
def test_a_file_is_answered_and_what_was_answered_is_kept(
    model_dir: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [request("a"), request("b", temperature=9), request("c", n=2)]
    source, output = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    command = ["batch", str(model_dir), str(source), str(output), "serve.gpus_per_replica=0"]
    assert main([*command, "serve.engine.cache_tokens=8192"]) == 1
    found = {row["custom_id"]: row for row in map(json.loads, output.read_text().splitlines())}
    assert found["a"]["response"]["body"]["usage"]["completion_tokens"] <= 4 and found["a"]["error"] is None
    assert found["b"]["response"] is None and "temperature" in found["b"]["error"]["message"]
    assert len(found["c"]["response"]["body"]["choices"]) == 2
    # More requests, and a line that a killed process left: what is whole stays as it is.
    write(source, [*rows, request("d")])
    before = output.read_text()
    output.write_text(before + '{"custom_id": "d", "respo')
    assert main([*command, "serve.engine.cache_tokens=8192"]) == 0
    assert "4 requests, 1 answered now" in capsys.readouterr().out
    after = output.read_text()
    assert after.startswith(before) and after.count("\n") == 4


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "no request in it"),
        ([{"body": {"messages": []}}], r"in.jsonl:1: custom_id None: expected a text"),
        ([request("a"), request("a")], r"in.jsonl:2: custom_id 'a' is there twice"),
        ([{"custom_id": "a", "body": {}}], "expected a chat completion's, with a list of messages"),
        ([request("a", stream=True)], "answers of a batch come whole"),
    ],
)
def test_wrong_requests_are_told_at_once(
    rows: list[dict[str, Any]],
    told: str,
    model_dir: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = write(tmp_path / "in.jsonl", rows)
    assert main(["batch", str(model_dir), str(source), str(tmp_path / "out")]) == 2
    assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("ray_cluster")
def test_engines_that_could_never_start_and_files_that_are_one(
    model_dir: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = write(tmp_path / "in.jsonl", [request("a")])
    assert main(["batch", str(model_dir), str(source), str(source), "serve.gpus_per_replica=0"]) == 2
    assert "the answers would go into the file of requests" in capsys.readouterr().err
    monkeypatch.setattr("ochat_ray.batch.fixed", lambda: True)
    assert (
        main(["batch", str(model_dir), str(source), str(tmp_path / "out"), "serve.gpus_per_replica=1"]) == 2
    )
    assert "this machine has no GPU, and no engine could ever start" in capsys.readouterr().err
