"""Answers that stop in the middle of something are told from those that merely end without a full stop."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.conversation import Message
from ochat_ray.data.filters.reason import Reason
from ochat_ray.data.filters.unfinished import breaks_off

PARAGRAPH = "The river begins in the hills. It then runs through three towns before it meets the sea."
HINDI = (
    "\u092f\u0939 \u090f\u0915 \u0935\u093f\u0937\u092f \u0939\u0948\u0964 \u0939\u092e \u0906\u0917\u0947 "
    "\u0914\u0930 \u0935\u093f\u0938\u094d\u0924\u093e\u0930 \u0938\u0947 \u092c\u093e\u0924 "
    "\u0915\u0930\u0947\u0902\u0917\u0947 "
    "\u091c\u092c"
)
CHINESE = (
    "\u4eca\u5929\u6211\u4eec\u8ba8\u8bba\u4e00\u4e2a\u91cd\u8981\u7684\u95ee\u9898\u3002"
    "\u9996\u5148\u6211\u4eec\u9700\u8981\u4e86\u89e3"
)
KOREAN = (
    "\uc548\ub155\ud558\uc138\uc694. \uc624\ub298\uc740 \ub9e4\uc6b0 \uc911\uc694\ud55c \uc8fc\uc81c\uc5d0 "
    "\ub300\ud574\uc11c \uc774\uc57c\uae30\ub97c \ud574 \ubcf4\uaca0\uc2b5\ub2c8\ub2e4. "
    "\uadf8\ub798\uc11c \uc6b0\ub9ac\ub294"
)
THAI = "\u0e27\u0e31\u0e19\u0e19\u0e35\u0e49 \u0e40\u0e23\u0e32 \u0e08\u0e30 \u0e1e\u0e39\u0e14 " * 4


def judged(answer: str) -> Reason | None:
    return breaks_off((Message("user", "tell me"), Message("assistant", answer)))


@pytest.mark.parametrize(
    "answer",
    [
        f"{PARAGRAPH} In winter the",
        f"{PARAGRAPH}\n\nIn winter it carries so much water that the people of the towns",
        f"{PARAGRAPH} In winter it carries water,",
        f"{PARAGRAPH} It is fed by many smaller rivers (",
        f"1. {PARAGRAPH}\n2. {PARAGRAPH}\n3. The second river begins in the north and then it",
        f"- {PARAGRAPH}\n- {PARAGRAPH} It also",
        "1. Boil some water.\n2. Now add the salt, the pepper, and",
        f"> {PARAGRAPH} In winter the people of the towns",
        f"{PARAGRAPH}\n\n```\nx = 1\n```\n\nThis sets the variable to one. You can also",
        f"{PARAGRAPH} Most of it is water\u200b  \n\n",
        CHINESE,
        HINDI,
        KOREAN,
    ],
)
def test_a_sentence_without_its_end(answer: str) -> None:
    reason = judged(answer)
    assert reason is not None and reason.reason == "unfinished"
    assert "message 2 (assistant) ends in the middle of a sentence" in reason.detail
    assert answer.strip(" \n\u200b")[-5:] in reason.detail


@pytest.mark.parametrize(
    "answer",
    [
        "```python\nx = 1",
        "Text.\n\n~~~\ncode\n```\n",
        "````\n```\ncode\n```\n",
        "1. Do this:\n\n   ```sh\n   make",
        "> ```\n> code",
        "```\none\n```\n\nand\n\n```\ntwo\n",
        "```\nfirst\n    ```\nstill code",
    ],
)
def test_an_open_fence(answer: str) -> None:
    reason = judged(answer)
    assert reason is not None and "code fence" in reason.detail


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "OK",
        "Paris",
        "The answer is 42",
        PARAGRAPH,
        f"{PARAGRAPH}..",
        f'{PARAGRAPH} He said: "It is done."',
        f"{PARAGRAPH} **It is done.**",
        f"{PARAGRAPH}\n\nSincerely,\n[Your Name]",
        f"{PARAGRAPH}\n\nBest regards,\nBailey of the River Team",
        f"{PARAGRAPH}\n\n## What the river and its towns are known for",
        f"{PARAGRAPH}\n\n- the hills\n- the towns along the river\n- the sea to the west and all its ports",
        f"{PARAGRAPH}\n\nHashtags: #river #hills #sea #towns #water #winter #boats #harbours",
        f"{PARAGRAPH} Read more about all of it at https://example.com/rivers/and/towns",
        f"{PARAGRAPH}\n\n| town | people |\n| --- | --- |\n| the one in the hills by the | 4 |",
        f"{PARAGRAPH}\n\n```\nx = 1\n```",
        f"{PARAGRAPH}\n\n- ```\n  x = 1\n  ```",
        "````\n```\ncode\n```\n````",
        "Write ```code``` in a line.",
        f"{PARAGRAPH}\n\n$$\nx = y\n$$",
        f"{PARAGRAPH} It is \\(x\\)",
        f"{PARAGRAPH}\n\nSkills: boats, nets, sails, ropes and all that has to do with the sea",
        "A) the hills\nB) the three towns that lie along the river\nC) the sea to the west and its harbours",
        "The road is long and the night is cold\nAnd nobody knows where the wind will go\n"
        "The river is wide and the boats are old\nBut we will be home before the snow",
        "A Short History of the River, Its Three Towns and the People Who Live There",
        "\u2014 a fisherman of the second town, in a letter to his brother",
        CHINESE + "\u3002",
        HINDI + "\u0964",
        THAI,
    ],
)
def test_what_is_finished(answer: str) -> None:
    assert judged(answer) is None


def test_only_the_last_answer_is_looked_at() -> None:
    cut = Message("assistant", f"{PARAGRAPH} In winter the")
    done = (Message("user", "go on"), Message("assistant", PARAGRAPH))
    assert breaks_off((Message("user", "tell me"), cut, *done)) is None
    assert breaks_off((Message("user", "tell me"), cut)) is not None
    assert breaks_off((Message("user", cut.content),)) is None
    assert breaks_off(()) is None


PARTS = ["word", "End.", "the", "\n", "- ", "> ", "(", ",", "|", "\u4f60", "\u0e09", "#", ": ", "~~", "``"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PARTS)))
def test_whatever_comes_before_an_open_fence_breaks_off_and_a_closed_one_does_not(parts: list[str]) -> None:
    text = " ".join(parts)
    assert judged(text) == judged(text)
    reason = judged(f"{text}\n```\ncode")
    assert reason is not None and "code fence" in reason.detail
    assert judged(f"{text}\n```\ncode\n```") is None


@pytest.mark.parametrize("text", [" ", "`", "> ", "- ", "a: ", "| ", "\u4f60", "a.", "1. ", "``` "])
def test_text_without_end_is_judged_in_no_time(text: str) -> None:
    assert judged(text * 100_000 + "x") is None or "`" in text
