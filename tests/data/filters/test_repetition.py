"""Loops are turned away, whatever they loop; lists, tables, verses and code are not."""

from __future__ import annotations

import json
import lzma
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.config.filters import RepetitionConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.reason import Reason
from ochat_ray.data.filters.repetition import degenerate

CONFIG = RepetitionConfig(enabled=True)
WORDS = [
    f"{first}{last}"
    for first in ("ma", "ro", "ti", "ke", "lu", "so", "ne")
    for last in ("ra", "lon", "st", "vi")
]


def judged(answer: str, config: RepetitionConfig = CONFIG) -> Reason | None:
    return degenerate((Message("user", "go on"), Message("assistant", answer)), config)


def prose(words: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


@pytest.mark.parametrize(
    "loop",
    [
        "very " * 60,
        "I am sorry. " * 30,
        "I do not know what you mean by that, but I will try to help you anyway. " * 8,
        "- the same item again\n" * 20,
        prose(90) + "\n\n" + prose(90) + "\n\n" + prose(90),
        "\u6211\u4e0d\u77e5\u9053\u3002" * 20,  # Chinese: I do not know.
        "\u0e09\u0e31\u0e19\u0e23\u0e31\u0e01\u0e04\u0e38\u0e13" * 20,  # Thai: I love you
        "\u3053\u3093\u306b\u3061\u306f " * 30,
        "ha" * 900,
        "abcdefg" * 300,
        "\U0001f600" * 80,
        "ma\u00f1ana " * 60,
    ],
)
def test_loops_are_turned_away(loop: str) -> None:
    reason = judged(loop)
    assert reason is not None and reason.reason == "repetition"
    assert "message 2 (assistant)" in reason.detail and "filters.repetition." in reason.detail


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("looped", [3, 12, 45])
def test_a_loop_after_a_good_beginning_is_turned_away(seed: int, looped: int) -> None:
    loop = " ".join((prose(looped, seed + 100).split() * 100)[:300])
    assert judged(prose(150, seed)) is None
    assert judged(f"{prose(150, seed)} {loop}") is not None


CHORUS = "We are singing in the rain tonight\nAnd nobody knows where the road will go\n"
VERSES = "\n".join(f"{CHORUS}{prose(14, seed)}\n{prose(12, seed + 50)}\n" for seed in range(4))
TABLE = "| Name | Paid | Open |\n| --- | --- | --- |\n" + "".join(
    f"| {prose(2, seed)} | yes | no |\n" for seed in range(30)
)
LIST = "".join(f"{n}. {prose(3, n)}: a place known for {prose(3, n + 40)}\n" for n in range(20))
ANSWERS = "".join(f"{letter}\n" for letter in random.Random(3).choices("ABCDE", k=80))
CODE = "Here it is:\n```\n" + "x = x + 1\n" * 200 + "```\n" + prose(60)


@pytest.mark.parametrize(
    "answer", [prose(300), VERSES, TABLE, LIST, ANSWERS, CODE, "", "no " * 10, "-" * 5000]
)
def test_what_people_write_is_kept(answer: str) -> None:
    assert judged(answer) is None


def test_chinese_prose_is_kept() -> None:
    characters = [chr(0x4E00 + 7 * n) for n in range(400)]
    assert judged("".join(random.Random(1).choices(characters, k=600))) is None


def test_only_answers_are_judged_and_only_where_wanted() -> None:
    loop = "very " * 100
    assert degenerate((Message("user", loop), Message("assistant", prose(80))), CONFIG) is None
    assert judged(loop, RepetitionConfig()) is None
    assert judged(loop, CONFIG.replace(min_words=101)) is None


@pytest.mark.parametrize(
    ("answer", "loosened"),
    [
        ("".join(f"the same line stands here\n{prose(1, n)}\n" for n in range(30)), {"max_line_share": 0.05}),
        (" ".join(f"well you know {prose(3, n)}" for n in range(30)), {"max_ngram_share": 0.05}),
        (f"{prose(60)}. {prose(100, 1)}. {prose(60)}", {"max_repeated_share": 0.05}),
    ],
)
def test_each_limit_is_its_own_setting(answer: str, loosened: dict[str, float]) -> None:
    off = {"max_line_share": 1, "max_ngram_share": 1, "max_repeated_share": 1}
    assert judged(answer, CONFIG.replace(**off)) is None
    reason = judged(answer, CONFIG.replace(**{**off, **loosened}))
    assert reason is not None and next(iter(loosened)) in reason.detail


@settings(max_examples=60, deadline=None)
@given(
    st.text(min_size=1, max_size=30).filter(lambda text: any(map(str.isalpha, text))), st.integers(120, 200)
)
def test_whatever_is_said_a_hundred_times_over_is_a_loop(said: str, times: int) -> None:
    assert judged(f"{said} " * times) is not None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=2000))
def test_any_text_can_be_judged(text: str) -> None:
    assert judged(text) == judged(text)


def test_hardly_any_real_answer_is_a_loop(shared_data: Path) -> None:
    answers = set()
    with lzma.open(shared_data / "sharegpt" / "pool.jsonl.xz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            for item in row["items"]:
                if item["from"] == "gpt":
                    text = re.sub(r"<pre>.*?</pre>", " ", item["value"], flags=re.DOTALL)
                    answers.add(re.sub(r"<[^>]+>", "", re.sub(r"</(?:p|li|tr|h\d)>", "\n", text)))
    assert len(answers) > 3000
    assert sum(judged(answer) is not None for answer in answers) <= 0.001 * len(answers)
