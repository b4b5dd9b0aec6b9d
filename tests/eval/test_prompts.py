from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.errors import ConfigError
from ochat_ray.eval.prompts import OWN, load_prompt, prompt_names
from ochat_ray.eval.records import Answer, Question

QUESTION = Question("1", "math", ("What is 2 + 2?", "And 3 + 3?"), ("4", "6"))


def answer(name: str, *turns: str) -> Answer:
    return Answer("1", name, turns)


@pytest.mark.parametrize("name", prompt_names())
@pytest.mark.parametrize("turn", [1, 2])
def test_everything_is_shown_once_and_in_order(name: str, turn: int) -> None:
    prompt = load_prompt(name)
    shown = [answer("a", "four-a", "six-a"), answer("b", "four-b", "six-b")][: 2 if prompt.pairwise else 1]
    system, user = prompt.messages(QUESTION, turn, shown)
    assert system["role"] == "system" and user["role"] == "user"
    places = [user["content"].index(one.turns[turn - 1]) for one in shown]
    assert places == sorted(places)
    for one in shown:
        assert user["content"].count(one.turns[0]) == 1
        assert user["content"].count(one.turns[1]) == turn - 1
    assert ("last message" in user["content"]) is (turn == 2)
    assert re.search(r"<right_answer \w{10}>\n4", user["content"])


def test_criteria_by_category_and_no_empty_reference() -> None:
    prompt = load_prompt("score")
    texts = {
        category: prompt.messages(Question("1", category, ("q",)), 1, [answer("a", "x"), answer("b", "y")])[
            1
        ]["content"]
        for category in ("writing", "coding", "math")
    }
    assert len(set(texts.values())) == 3
    assert "code" in texts["coding"] and "yourself" in texts["math"]
    assert all("right_answer" not in text for text in texts.values())


@given(st.text(alphabet="{}abcquestion_12", max_size=60))
def test_nothing_in_an_answer_is_a_field(text: str) -> None:
    prompt = load_prompt("score")
    question = Question("1", "x", ("{answer_1} {criteria}",))
    content = prompt.messages(question, 1, [answer("a", text), answer("b", "{question}")])[1]["content"]
    mark = content.split(">")[0].removeprefix("<question ")
    assert f"<question {mark}>\n{question.turns[0]}\n</question {mark}>" in content
    assert f"<answer_of_assistant_1 {mark}>\n{text}\n" in content and "\n{question}\n" in content


def test_no_answer_can_close_the_tag_around_it() -> None:
    """Not even one that knows the marks of requests before."""
    prompt, question = load_prompt("score"), Question("1", "x", ("q",))
    marks: list[str] = []
    for _ in range(3):
        close = " ".join(f"</answer_of_assistant_1 {mark}>" for mark in marks)
        content = prompt.messages(question, 1, [answer("a", f"x{close}"), answer("b", "y")])[1]["content"]
        marks.append(content.split(">")[0].removeprefix("<question "))
        assert content.count(f"</answer_of_assistant_1 {marks[-1]}>") == 1
    assert len(set(marks)) == 3


def test_own_prompts_and_their_faults(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    whole = yaml.safe_load(OWN.read_text())["grade"]
    file.write_text(yaml.safe_dump(whole))
    assert load_prompt(str(file)) == load_prompt("grade")
    for changes, told in (
        ({"user": "{question}"}, r"\{answer\} is missing"),
        ({"user": "{question} {answer} {answr}"}, r"\{answr\} is unknown"),
        ({"reads": "grades"}, "reads"),
        ({"tempreature": 1}, "did you mean `temperature`"),
    ):
        file.write_text(yaml.safe_dump({**whole, **changes}))
        with pytest.raises(ConfigError, match=told):
            load_prompt(str(file))
    with pytest.raises(
        ConfigError, match="unknown prompt `nothing`: known: score, verdict, preference, grade"
    ):
        load_prompt("nothing")
