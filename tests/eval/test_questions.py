from __future__ import annotations

import json
from pathlib import Path

import pytest

from ochat_ray.errors import DataError
from ochat_ray.eval.answers import read_answers
from ochat_ray.eval.questions import read_questions


def test_our_own_are_whole() -> None:
    questions = read_questions(None)
    assert len(questions) == 16 and len({question.category for question in questions}) == 8
    assert {len(question.turns) for question in questions} == {1, 2}
    assert all(len(question.reference) in (0, len(question.turns)) for question in questions)
    assert len(read_questions(None, limit=3)) == 3


def test_published_formats(public: Path) -> None:
    vicuna = read_questions(public / "vicuna_blog/question.jsonl")
    assert len(vicuna) == 80 and vicuna[0].id == "1" and vicuna[0].category == "generic"
    bench = read_questions(public / "mt_bench/data/mt_bench/question.jsonl")
    assert len(bench) == 80 and {len(one.turns) for one in bench} == {2} and bench[0].id == "81"
    alpaca = read_questions(public / "alpaca_eval_outputs/text_davinci_003/model_outputs.json")
    assert len(alpaca) == 805 and alpaca[804].id == "804" and alpaca[0].category == "helpful_base"


def test_answers_of_others(public: Path) -> None:
    [(name, answers)] = read_answers(public / "vicuna_blog/answer/answer_bard.jsonl").items()
    assert len(answers) == 80 and "bard" in name.lower()
    [(name, answers)] = read_answers(public / "alpaca_eval_outputs/openchat-13b/model_outputs.json").items()
    assert len(answers) == 805 and name == "openchat-13b"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no question in it"),
        ("{}", r"q.jsonl:1: text None: expected turns"),
        ('{"turns": ["a"]}', r"q.jsonl:1: id None: expected a text or a whole number"),
        ('{"id": 1, "turns": []}', r"q.jsonl:1: turns \[\]: expected a list of texts"),
        ('{"id": 1, "turns": ["a", 2]}', "expected a list of texts"),
        ('{"id": 1, "text": 5}', "text 5: expected turns"),
        ('{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}', "question 1 is there twice"),
        ('{"id": 1, "text": "a"}\n{"id"', r"q.jsonl:2: not JSON"),
        ('[{"instruction": "a"}, {"instruction": null}]', "entry 1: instruction None"),
        ("[1]", "expected a JSON list of objects"),
        ('{"question_id": 1, "answer_id": "x", "text": "a"}', "an answer, not a question"),
    ],
)
def test_faults_are_named(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_questions(path)


def test_faults_of_answers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for rows, told in (
        ([], "no answer in it"),
        ([{"question": "1", "model": "m", "turns": ["a"]}] * 2, "m answers question 1 twice"),
        ([{"question": "1", "model": "m"}], "no answer: "),
        ([{"question_id": 1, "choices": []}], "not a line of FastChat's model_answer"),
    ):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(DataError, match=told):
            read_answers(path)
