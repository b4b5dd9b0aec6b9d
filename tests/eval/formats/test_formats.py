"""Files of other programs: read, refused by line and field, and written so that they are read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.errors import DataError
from ochat_ray.eval.formats import alpaca, choices, fastchat, labels, vicuna
from ochat_ray.eval.records import Answer, Judgment, Question, read_records, write_records


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_records_come_back(tmp_path: Path) -> None:
    records = [
        Judgment("1", "c", "m", "b", "j", 0.0, None, text="\u2028 {}"),
        Judgment("2", "c", "m", None, "j", None),
    ]
    write_records(tmp_path / "a.jsonl", records)
    assert list(read_records(Judgment, tmp_path / "a.jsonl")) == records
    (tmp_path / "b.jsonl").write_text('{"id": "1", "category": "c"}\n')
    with pytest.raises(DataError, match=r"b\.jsonl:1: no question"):
        list(read_records(Question, tmp_path / "b.jsonl"))
    (tmp_path / "c.jsonl").write_text("{}\n\n[1]\n")
    with pytest.raises(DataError, match=r"c\.jsonl:1"):
        list(read_records(Question, tmp_path / "c.jsonl"))


def test_reviews_are_turned_by_the_ids_of_answers(tmp_path: Path) -> None:
    row = {"question_id": 1, "answer1_id": "base", "answer2_id": "ours", "score": [7, 9]}
    turned = {**row, "answer1_id": "ours", "answer2_id": "base"}
    path = lines(tmp_path / "r.jsonl", row, turned, {**row, "score": [-1, -1]}, {**row, "score": 1})
    found = vicuna.read_reviews(path, model="m", baseline="b", judge="j", baseline_ids={"base"})
    assert [(one.value, one.against, one.swapped) for one in found] == [
        (9, 7, True),
        (7, 9, False),
        (None, None, True),
        (0, 1, True),
    ]


@pytest.mark.parametrize(
    "wrong", [{"score": [1]}, {"score": "8 9"}, {"score": 4}, {"answer2_id": "base"}, {"score": None}]
)
def test_wrong_reviews_are_told_by_line(tmp_path: Path, wrong: dict[str, Any]) -> None:
    row = {"question_id": 1, "answer1_id": "base", "answer2_id": "ours", "score": [7, 9]}
    path = lines(tmp_path / "r.jsonl", row, {**row, **wrong})
    with pytest.raises(DataError, match=r"r\.jsonl:2"):
        vicuna.read_reviews(path, model="m", baseline="b", judge="j", baseline_ids={"base"})


def test_fastchat_files_come_back(tmp_path: Path) -> None:
    answers = [Answer("81", "m", ("one", "two")), Answer("own-id", "m", ("x",))]
    fastchat.write_answers(tmp_path / "a.jsonl", answers)
    assert fastchat.read_answers(tmp_path / "a.jsonl") == answers
    grades = [
        Judgment("81", "", "m", None, "gpt-4", 7.0, turn=2, text="t"),
        Judgment("82", "", "m", None, "gpt-4", None),
    ]
    fastchat.write_grades(tmp_path / "g.jsonl", grades)
    assert fastchat.read_grades(tmp_path / "g.jsonl") == grades
    with pytest.raises(DataError, match=r"a\.jsonl:1"):
        fastchat.read_grades(tmp_path / "a.jsonl")


def test_winners_of_fastchat_are_named_by_model_in_both_games(tmp_path: Path) -> None:
    row = {"question_id": 1, "model_1": "b", "model_2": "m", "judge": ["j", "pair-v2"], "turn": 1}
    path = lines(
        tmp_path / "p.jsonl",
        {**row, "g1_winner": "model_2", "g2_winner": "tie"},
        {**row, "g1_winner": "error", "g2_winner": "model_1"},
        {**row, "model_1": "m", "model_2": "b", "g1_winner": "model_1", "g2_winner": "model_1"},
    )
    found = fastchat.read_verdicts(path, model="m", baseline="b")
    assert [(one.value, one.swapped) for one in found] == [
        (1, True),
        (0.5, False),
        (None, True),
        (0, False),
        (1, False),
        (1, True),
    ]
    with pytest.raises(DataError, match="no judgment of x"):
        fastchat.read_verdicts(path, model="x", baseline="b")


def test_alpaca_files_come_back(tmp_path: Path) -> None:
    questions = {"0": Question("0", "helpful", ("Why?",)), "1": Question("1", "koala", ("How?",))}
    ours = {key: Answer(key, "m", (f"ours {key}",)) for key in questions}
    base = {key: Answer(key, "b", (f"base {key}",)) for key in questions}
    alpaca.write_outputs(tmp_path / "o.json", questions.values(), ours)
    assert alpaca.read_outputs(tmp_path / "o.json") == list(ours.values())
    judged = [
        Judgment("0", "helpful", "m", "b", "j", 0.75, 0.25),
        Judgment("1", "koala", "m", "b", "j", None),
    ]
    alpaca.write_annotations(tmp_path / "a.json", questions, judged, ours, base)
    assert alpaca.read_annotations(tmp_path / "a.json") == judged
    assert [row["preference"] for row in json.loads((tmp_path / "a.json").read_text())] == [1.75, None]


def test_a_preference_of_0_is_a_draw_and_3_is_none(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps([{"preference": 0}, {"preference": 1.5}]))
    assert [one.value for one in alpaca.read_annotations(file)] == [0.5, 0.5]
    file.write_text(json.dumps([{"preference": 1}, {"preference": 3}]))
    with pytest.raises(DataError, match=r"a\.json: entry 1: preference 3"):
        alpaca.read_annotations(file)
    file.write_text("{}")
    with pytest.raises(DataError, match="JSON list"):
        alpaca.read_annotations(file)


def test_labels_of_people(tmp_path: Path) -> None:
    rows = [
        {"annotator1": a, "annotator2": b, "annotator3": c} for a, b, c in ((1, 1, 2), (0, 1, 2), (2, 2, 2))
    ]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    assert labels.read_pandalm_people(tmp_path / "p.json").majority() == ["1", "0", "2"]
    (tmp_path / "p.json").write_text(json.dumps([{**rows[0], "annotator2": 5}]))
    with pytest.raises(DataError, match="entry 0: annotator2 '5'"):
        labels.read_pandalm_people(tmp_path / "p.json")
    (tmp_path / "h.txt").write_text("CHATGPT\nTIE\n")
    assert labels.read_faireval(tmp_path / "h.txt") == ["CHATGPT", "TIE"]


@pytest.mark.parametrize(
    ("reply", "letter"),
    [("Answer: (D) 9", "A"), ("(C) it", "C"), ("a careful B", "B"), ("none", ""), ("", "")],
)
def test_the_choice_is_the_first_capital(reply: str, letter: str) -> None:
    assert choices.match_choice(reply) == letter


def test_accuracy_of_choices_needs_a_label_for_each() -> None:
    assert choices.accuracy(("A", "b", "C)"), ("A", "B", "C")) == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="1 replies and 2 labels"):
        choices.accuracy(("A",), ("A", "B"))
