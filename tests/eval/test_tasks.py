"""Academic tasks by the real lm-eval, with a task of our own on this disk, against a scripted endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.cli import main
from ochat_ray.eval.tasks import read_results
from tests.eval.scripted import Scripted, refused
from tests.listening import listening

pytest.importorskip("lm_eval", reason="lm-eval is not installed")

TASK = """
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "What is {{a}} + {{b}}? Answer with a number."
doc_to_target: "{{a + b}}"
generation_kwargs: {until: [], max_gen_toks: 16}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
CHOICES = """
task: choices
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{a}}"
doc_to_choice: ["x", "y"]
doc_to_target: 0
metric_list: [{metric: acc}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tasks over eight documents."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"a": n, "b": n + 1}) + "\n" for n in range(8)))
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, text in ("sums", TASK), ("choices", CHOICES):
        (folder / f"{name}.yaml").write_text(text.replace("DATA", str(data)))
    return folder


def adds(wrong: int) -> Scripted:
    """Knows all sums but `wrong` ones."""

    def say(body: dict[str, Any], _: int) -> str:
        words = body["messages"][-1]["content"].removeprefix("What is ").split("?")[0].split(" + ")
        first, second = map(int, words)
        return str(first + second + (first < wrong))

    return Scripted(say)


def test_results_join_the_report_and_replies_are_kept(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted = adds(wrong=2)
    out = tmp_path / "out"
    with listening(scripted.api) as url:
        models = json.dumps([{"name": "org/m", "model": "m", "url": f"{url}/v1"}])
        command = ["eval", "tasks", str(out), "--task", "sums", "--tasks-folder", str(folder)]
        assert main([*command, f"eval.models={models}"]) == 0
        assert scripted.answered == 8
        assert "org/m  sums  exact_match  0.7500" in capsys.readouterr().out
        assert main([*command, f"eval.models={models}"]) == 0
        assert scripted.answered == 8
    [row] = read_results(out)
    assert (row.model, row.task, row.metric, row.value) == ("org/m", "sums", "exact_match", 0.75)
    assert row.standard_error == pytest.approx(0.1637, abs=1e-3)
    assert "exact_match" in (out / "eval.html").read_text()
    [body] = {body for body in scripted.asked if "What is 3 + 4" in body}
    assert json.loads(body)["max_tokens"] == 16


def test_what_cannot_be_run_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(adds(0).api) as url:
        models = f"eval.models={json.dumps([{'name': 'm', 'url': f'{url}/v1'}])}"
        command = ["eval", "tasks", str(tmp_path / "out"), "--tasks-folder", str(folder), models]
        assert main([*command, "--task", "choices"]) == 2
        assert "scored by log-likelihood" in capsys.readouterr().err
        assert main([*command, "--task", "nope"]) == 2
        assert "--task nope: no such task" in capsys.readouterr().err
    failing = Scripted(lambda *_: "", lambda _: refused(500, "broken"))
    with listening(failing.api) as url:
        models = f"eval.models={json.dumps([{'name': 'm', 'url': f'{url}/v1', 'retries': 0}])}"
        command[-1] = models
        assert main([*command, "--task", "sums"]) == 2
        assert "lm-eval failed" in capsys.readouterr().err
