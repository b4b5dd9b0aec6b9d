"""The chain of filters: one reason for each fault, the first of several, and what is kept is made ready."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ochat_ray.config import FilterConfig
from ochat_ray.conversation import Conversation, Message
from ochat_ray.data.filters import Judged, Questions, judge

QUESTION = "What is the best way to keep the garden green in a hot summer?"
ANSWER = "Water it early in the morning. The soil then stays wet for longer, and the leaves are dry by night."
GERMAN = (
    "Gie\u00df ihn fr\u00fch am Morgen. Dann bleibt der Boden l\u00e4nger feucht, und nichts wird trocken."
)
EVERYTHING: dict[str, Any] = {
    "length": {"min_answer_chars": 20, "max_messages": 4},
    "languages": {"keep": ["en"]},
    "repetition": {"enabled": True},
    "unfinished": True,
    "personal_data": {"action": "drop"},
}
BENCHMARK = json.dumps({"text": "Describe how a sundial tells the time of day to a child"}).encode()


def judged(*texts: str, **changes: Any) -> Judged:
    config = FilterConfig.model_validate({**EVERYTHING, "decontamination": {"files": ["q.jsonl"]}, **changes})
    questions = Questions.load(config.decontamination, lambda _: BENCHMARK)
    messages = tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(texts))
    return judge(Conversation("abc", "abc.html", messages), config, questions)


def test_a_good_conversation_passes_them_all_and_has_its_language() -> None:
    conversation, reason = judged(QUESTION, ANSWER)
    assert reason is None
    assert conversation.language == "en"
    assert [message.content for message in conversation.messages] == [QUESTION, ANSWER]


@pytest.mark.parametrize(
    ("reason", "texts"),
    [
        ("too_short", (QUESTION,)),
        ("too_short", (QUESTION, "At dawn.")),
        ("too_long", (QUESTION, ANSWER) * 3),
        ("empty_answer", (QUESTION, " ", QUESTION, ANSWER)),
        ("blocked_word", (QUESTION, f"{ANSWER} I am by OpenAI.")),
        ("language", (QUESTION, 4 * GERMAN)),
        ("repetition", (QUESTION, "It is warm. " * 60)),
        ("unfinished", (QUESTION, f"{ANSWER} In the evening the")),
        ("personal_data", (QUESTION, f"{ANSWER} Ask olga@sysu.edu.cn.")),
        ("contaminated", ("Describe how a sundial tells the time of day to a child.", ANSWER)),
    ],
)
def test_chain(reason: str, texts: tuple[str, ...]) -> None:
    found = judged(*texts)
    assert found.reason is not None and found.reason.reason == reason
    assert [message.content for message in found.conversation.messages] == list(texts)


def test_roles_are_in_the_chain() -> None:
    messages = (Message("user", QUESTION), Message("user", QUESTION))
    found = judge(Conversation("abc", "abc.html", messages), FilterConfig(), Questions.NONE)
    assert found.reason is not None and found.reason.reason == "roles"


def test_of_several_faults_the_first_counts_and_the_language_is_still_told() -> None:
    found = judged(QUESTION, f"I am by OpenAI. {4 * GERMAN} Ask olga@sysu.edu.cn, the")
    assert found.reason is not None and found.reason.reason == "blocked_word"
    assert found.conversation.language == "de"


def test_what_is_kept_is_masked_where_that_is_wanted() -> None:
    told = f"{ANSWER} Ask olga@sysu.edu.cn."
    conversation, reason = judged(QUESTION, told, personal_data={"action": "mask"})
    assert reason is None
    assert conversation.messages[1].content == f"{ANSWER} Ask [EMAIL]."
    conversation, reason = judged(QUESTION, told, personal_data={"action": "keep"})
    assert reason is None and conversation.messages[1].content == told


def test_what_is_turned_away_is_masked_too_and_so_is_what_is_said_of_it() -> None:
    told = f"I am by OpenAI. {ANSWER} Ask olga@sysu.edu.cn, the"
    for changes in (
        {},
        {"blocked_words": {"words": []}, "unfinished": True},
        {"length": {"min_messages": 3}},
    ):
        conversation, reason = judged(QUESTION, told, personal_data={"action": "mask"}, **changes)
        assert reason is not None and "olga" not in reason.detail
        assert conversation.messages[1].content == told.replace("olga@sysu.edu.cn", "[EMAIL]")


def test_a_question_is_found_by_the_address_in_it() -> None:
    question = "Write to the office at olga@sysu.edu.cn and ask for all the papers of last year."
    files = {"decontamination": {"files": ["q.jsonl"]}}
    config = FilterConfig.model_validate({"personal_data": {"action": "mask"}, **files})
    questions = Questions.load(config.decontamination, lambda _: json.dumps({"text": question}).encode())
    messages = (Message("user", question), Message("assistant", ANSWER))
    conversation, reason = judge(Conversation("abc", "abc.html", messages), config, questions)
    assert reason is not None and reason.reason == "contaminated"
    assert "[EMAIL]" in conversation.messages[0].content


def test_most_filters_are_off_unless_asked_for() -> None:
    loop = "It is warm. " * 60 + "Ask olga@sysu.edu.cn, the"
    messages = (Message("user", GERMAN), Message("assistant", loop))
    found = judge(Conversation("abc", "abc.html", messages), FilterConfig(), Questions.NONE)
    assert found.reason is None and found.conversation.messages == messages
