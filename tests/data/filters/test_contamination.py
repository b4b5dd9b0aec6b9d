"""Questions of benchmarks are recognised in any message, and files of them that are wrong are named."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.config.filters import DecontaminationConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.contamination import Questions, contaminated
from ochat_ray.data.filters.reason import Reason
from ochat_ray.errors import DataError

SHORT = "How can I improve my time management skills?"  # eight words: shared whole, or not at all
LONG = (
    "Compose an engaging travel blog post about a recent trip to Hawaii, highlighting cultural "
    "experiences and must-see attractions."
)
LINES = f"{json.dumps({'question_id': 1, 'text': SHORT})}\n\n{json.dumps({'question_id': 2, 'text': LONG})}\n"


def loaded(text: str | bytes, **changes: int) -> Questions:
    data = text.encode() if isinstance(text, str) else text
    return Questions.load(DecontaminationConfig(files=("set/question.jsonl",), **changes), lambda _: data)


def judged(text: str, questions: Questions | None = None) -> Reason | None:
    return contaminated((Message("user", "hello"), Message("assistant", text)), questions or loaded(LINES))


@pytest.mark.parametrize(
    "text",
    [
        SHORT,
        f"My boss asks: {SHORT} Thanks",
        "how  can I\nimprove MY *time-management* skills",
        "\uff28\uff4f\uff57 can I improve my time management skills",  # full width
        LONG,
        "an engaging travel blog post about a recent trip to Hawaii, highlighting cultural things",
        f"```\n{LONG}\n```",
    ],
)
def test_shared_words_are_found(text: str) -> None:
    reason = judged(text)
    assert reason is not None and reason.reason == "contaminated"
    assert "message 2 (assistant)" in reason.detail and "set/question.jsonl, line " in reason.detail


def test_the_reason_names_the_words_and_the_question() -> None:
    reason = contaminated((Message("user", f"Please: {LONG}"),), loaded(LINES))
    assert reason is not None
    words = "compose an engaging travel blog post about a recent trip to hawaii highlighting"
    assert reason.detail == f"message 1 (user) shares {words!r} with a question (set/question.jsonl, line 3)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "How can I improve my time management?",
        "How can I improve my time management skill?",
        "How can I really improve my time management skills?",
        "engaging travel blog post about a recent trip to Hawaii, highlighting cultural",  # twelve words
        "Tell me about Hawaii, its cultural experiences and its attractions.",
    ],
)
def test_fewer_words_are_anybodys(text: str) -> None:
    assert judged(text) is None


def test_how_much_may_be_shared_is_a_setting() -> None:
    text = "about a recent trip to Hawaii"
    assert judged(text, loaded(LINES, ngram=6, min_words=6)) is not None
    assert judged(text, loaded(LINES, ngram=7, min_words=6)) is None
    assert judged(SHORT, loaded(LINES, min_words=9)) is None


def test_questions_in_scripts_without_spaces() -> None:
    question = (
        "\u8bf7\u7528\u7b80\u5355\u7684\u8bdd"
        "\u89e3\u91ca\u91cf\u5b50\u8ba1\u7b97\u7684\u57fa\u672c\u539f\u7406"
    )
    questions = loaded(json.dumps({"prompt": question}))
    assert judged(f"\u4f60\u597d\uff0c{question}\u3002", questions) is not None
    assert judged(question[:9], questions) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (json.dumps({"turns": ["x", SHORT]}), "its only item"),
        (json.dumps([{"instruction": "x", "output": LONG}, {"instruction": SHORT}]), "item 2"),
        (json.dumps([{"question": SHORT, "answer": "x"}], indent=1), "item 1"),
        (json.dumps({"data": [{"prompt": SHORT}]}, indent=1), "its only item"),
        ("\ufeff" + "\r\n".join([json.dumps({"text": "x"}), json.dumps({"text": SHORT})]), "line 2"),
    ],
)
def test_kinds_of_files(text: str, place: str) -> None:
    reason = judged(SHORT, loaded(text))
    assert reason is not None and reason.detail.endswith(f"(set/question.jsonl, {place})")
    assert judged(LONG, loaded(text)) is None


def fails(error: Exception) -> Callable[[str], bytes]:
    def read(_name: str) -> bytes:
        raise error

    return read


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "has none of the fields text, turns"),
        (b"[]", "has none of the fields"),
        (b"7", "has none of the fields"),
        (b'{"text": 7, "answer": "x"}', "has none of the fields"),
        (b'{"text": "too short"}', "has no question of filters.decontamination.min_words = 8 words or more"),
        (b'{"text": "a"}\n{"text": }\n', "line 2 is not JSON"),
        (b'[{"text": "a"},\n]', "is not JSON"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"[" * 100_000 + b"]" * 100_000, "is nested too deeply"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "set/question.jsonl"),
    ],
)
def test_files_that_cannot_be_used_are_named(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        loaded(data)
    assert str(caught.value).startswith("set/question.jsonl ")
    assert "filters.decontamination.files" in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(DataError, match=r"a.jsonl cannot be read .*No such file"):
        Questions.load(DecontaminationConfig(files=("a.jsonl",)), fails(FileNotFoundError(2, "No such file")))


def test_without_files_nothing_is_looked_for() -> None:
    none = Questions.load(DecontaminationConfig(), fails(AssertionError()))
    assert none == Questions.NONE and none.digest == ""
    assert judged(SHORT, none) is None


def test_questions_travel_and_tell_themselves_apart() -> None:
    questions = loaded(LINES)
    copy = pickle.loads(pickle.dumps(questions))
    assert copy == questions and hash(copy) == hash(questions)
    assert judged(SHORT, copy) == judged(SHORT, questions) is not None
    others = [loaded(LINES, ngram=12), loaded(LINES.replace("Hawaii", "Tonga")), loaded(LINES, min_words=9)]
    assert len({one.digest for one in (questions, *others)}) == 4


def test_the_digest_is_the_same_in_every_process() -> None:
    script = "import sys; from tests.data.filters.test_contamination import *; print(loaded(LINES).digest)"
    digests = set()
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[3],
        )
        digests.add(ran.stdout.strip())
    assert digests == {loaded(LINES).digest}


WORDS = st.sampled_from(["red", "blue", "green", "one", "two", "three"])


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, min_size=3, max_size=12), st.lists(WORDS, max_size=30), st.integers(3, 6))
def test_a_message_is_found_if_and_only_if_it_holds_a_run(
    question: list[str], said: list[str], ngram: int
) -> None:
    questions = loaded(json.dumps({"text": " ".join(question)}), ngram=ngram, min_words=3)
    length = min(ngram, len(question))
    runs = {tuple(question[start : start + length]) for start in range(len(question) - length + 1)}
    held = any(tuple(said[start : start + length]) in runs for start in range(len(said) - length + 1))
    assert (judged(", ".join(said), questions) is not None) == held


def test_real_benchmarks(shared_data: Path) -> None:
    names = (
        "vicuna_blog/question.jsonl",
        "mt_bench/data/mt_bench/question.jsonl",
        "alpaca_eval_outputs/openchat-13b/model_outputs.json",
    )
    questions = Questions.load(
        DecontaminationConfig(files=names), lambda name: (shared_data / "eval" / name).read_bytes()
    )
    assert len(questions.questions) > 800
    vicuna = (shared_data / "eval" / names[0]).read_text(encoding="utf-8").splitlines()
    assert len(vicuna) == 80
    for line in vicuna:
        assert judged(json.loads(line)["text"].upper(), questions) is not None
    assert judged("What is a good way to learn how to cook rice on an electric stove?", questions) is None
