"""Evaluations of our own models: over our server, and as a folder by batch inference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ochat_ray import evaluation
from ochat_ray.batch import infer
from ochat_ray.cli import main
from ochat_ray.config import load_recipe, override_recipe
from ochat_ray.config.eval import EndpointConfig
from ochat_ray.eval.answers import collect, next_ask
from ochat_ray.eval.asking.exchange import Missing, Reply
from ochat_ray.eval.asking.ledger import opened
from ochat_ray.eval.questions import read_questions
from ochat_ray.eval.records import Judgment, read_records
from ochat_ray.evaluation import answer_natively
from tests.eval.scripted import Scripted
from tests.listening import listening
from tests.serve.conftest import LOCAL, exported, local_url, model_dir, replica, served  # noqa: F401


def test_a_model_of_our_server_before_a_biased_judge(local_url: str, tmp_path: Path) -> None:  # noqa: F811
    """Two samplings of one model; whoever is shown first gets two points more."""
    judging = Scripted(lambda *_: "the first is better\n[8, 6]")
    with listening(judging.api) as url:
        models = [
            {
                "name": name,
                "model": "openchat",
                "url": f"{local_url}/v1",
                "max_tokens": 24,
                "temperature": heat,
            }
            for name, heat in (("cold", 0.0), ("warm", 0.9))
        ]
        judges = [{"name": "judge", "url": f"{url}/v1"}]
        words = [f"eval.models={json.dumps(models)}", f"eval.judges={json.dumps(judges)}", "eval.limit=4"]
        assert main(["eval", "run", str(tmp_path), *words, "eval.baseline=warm"]) == 0
    judgments = list(read_records(Judgment, tmp_path / "judgments.jsonl"))
    assert {(one.swapped, one.value, one.against) for one in judgments} == {(False, 8, 6), (True, 6, 8)}
    lines = (tmp_path / "answers/cold.jsonl").read_text().splitlines()
    assert len(lines) == 4
    for line in map(json.loads, lines):
        assert len(line["replies"]) == len(line["turns"])
        for reply in line["replies"]:
            assert reply["request"]["max_tokens"] == 24 and 0 < reply["output_tokens"] <= 24
            assert reply["input_tokens"] > 0 and reply["seconds"] > 0


@pytest.mark.usefixtures("ray_cluster")
def test_a_folder_answers_as_its_server_does(
    model_dir: Path,  # noqa: F811
    local_url: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    common = {"name": "m", "model": "openchat", "max_tokens": 12, "temperature": 0.0}
    folder = EndpointConfig.model_validate({**common, "folder": str(model_dir)})
    questions = read_questions(None, limit=6)
    with opened(tmp_path / "native") as ledger:
        assert answer_natively(folder, questions, ledger, LOCAL) == []
        natively = collect(folder, questions, ledger)
        first = next_ask(folder, questions[0], [])
        reply = ledger.get(first)
        assert reply is not None and 0 < reply.output_tokens <= 12
    over_http = [{**common, "url": f"{local_url}/v1"}]
    words = [f"eval.models={json.dumps(over_http)}", "eval.limit=6"]
    assert main(["eval", "answer", str(tmp_path / "http"), *words]) == 0
    lines = map(json.loads, (tmp_path / "http/answers/m.jsonl").read_text().splitlines())
    assert {one["question"]: tuple(one["turns"]) for one in lines} == {
        question: answer.turns for question, answer in natively.items()
    }


@pytest.mark.usefixtures("ray_cluster")
def test_a_request_that_cannot_be_answered_does_not_end_the_batch(model_dir: Path) -> None:  # noqa: F811
    good = {"model": "openchat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    long = {**good, "messages": [{"role": "user", "content": "word " * 5000}]}
    wrong = {**good, "temperature": 9}
    found = {one.place: one for one in infer(model_dir, LOCAL, [good, long, wrong, good])}
    assert sorted(found) == [0, 1, 2, 3]
    assert found[0].response and found[0].response["usage"]["completion_tokens"] <= 4 and not found[0].error
    assert found[1].response is None and "maximum context length" in found[1].error
    assert found[2].response is None and "temperature" in found[2].error
    assert found[3].response


def test_a_later_model_of_the_same_name_answers_anew(model_dir: Path, tmp_path: Path) -> None:  # noqa: F811
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    model = EndpointConfig(name="m", folder=str(folder))
    [question] = read_questions(None, limit=1)
    first = next_ask(model, question, []).key
    assert next_ask(model, question, []).key == first
    weights = folder / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    facts = json.loads((folder / "ochat.json").read_text())
    (folder / "ochat.json").write_text(json.dumps(facts))  # an export writes it anew, last
    assert next_ask(model, question, []).key != first


@pytest.mark.parametrize(
    ("baseline", "best"),
    [(None, "epoch 2"), ("given", "epoch 2"), ("epoch 2", "epoch 2"), ("epoch 1", "epoch 2")],
)
def test_the_best_export_is_one_of_the_training(
    baseline: str | None,
    best: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second epoch is the best of them, though a model that was only given is better."""
    scores = {"epoch 1": 4, "epoch 2": 6, "given": 9}
    lines = [
        {"question": one.id, "model": "given", "turns": ["given"] * len(one.turns)}
        for one in read_questions(None)
    ]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def say(body: dict[str, Any], _: int) -> str:
        text = body["messages"][-1]["content"]
        shown = sorted(
            (text.rindex(f"\n{name}\n"), score) for name, score in scores.items() if f"\n{name}\n" in text
        )
        return json.dumps([score for _, score in shown])

    def natively(model: EndpointConfig, questions: Any, ledger: Any, _: Any) -> list[Missing]:
        for question in questions:
            replies: list[str] = []
            while len(replies) < len(question.turns):
                ledger.add(next_ask(model, question, replies), Reply(model.name))
                replies.append(model.name)
        return []

    monkeypatch.setattr(evaluation, "answer_natively", natively)
    exports = {name: tmp_path / name for name in ("epoch 1", "epoch 2")}
    with listening(Scripted(say).api) as url:
        recipe = override_recipe(
            load_recipe("tiny-cpu"),
            [
                f"eval.judges={json.dumps([{'name': 'judge', 'url': f'{url}/v1'}])}",
                f"eval.answers=[{tmp_path / 'given.jsonl'}]",
                f"eval.baseline={json.dumps(baseline)}",
                f"eval.figure={'percent' if baseline else 'rating'}",
            ],
        )
        planned = evaluation.exports_plan(tmp_path / "eval", exports, recipe)
        assert evaluation.best_export(planned, exports, LOCAL) == exports[best]
