"""Blocked words are whole words of prose."""

from __future__ import annotations

import pytest

from ochat_ray.config.filters import BlockedWordsConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.words import blocked_word


def blocked(text: str, *words: str, in_code: bool = False) -> bool:
    config = BlockedWordsConfig(words=words or ("openai",), in_code=in_code)
    return blocked_word((Message("user", "hello"), Message("assistant", text)), config) is not None


@pytest.mark.parametrize(
    "text",
    [
        "openai",
        "I am by OpenAI.",
        "OPENAI's",
        "see https://openai.com/x",
        "**OpenAI**",
        "OpenAI\u7684\u6a21\u578b",
        "a\n```python\nx = 1\n```\nby openai",
        "`openai` in a span is prose",
        "```ls``` lists files.\nAs OpenAI trained me, I say no more.",
    ],
)
def test_blocked_words_in_prose(text: str) -> None:
    assert blocked(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "openair cinema",
        "an_openai_key",
        "```python\nimport openai\n```",
        "Run\n\n1. this\n\n   ~~~\n   openai\n   ~~~\n\nand that",
        "- ```\n  openai\n  ```",
        "````\n```\nopenai\n```\n````\nend",
        "> ```\n> openai\n> ```",
        "```\nopenai, and the answer was cut off",
    ],
)
def test_blocked_words_in_code_or_other_words_do_not_count(text: str) -> None:
    assert not blocked(text)


def test_words_in_code_count_where_that_is_wanted() -> None:
    assert blocked("```python\nimport openai\n```", in_code=True)
    assert not blocked("an_openai_key", in_code=True)


def test_no_words_block_nothing() -> None:
    assert blocked_word((Message("user", "openai"),), BlockedWordsConfig(words=())) is None


def test_blocked_words_are_words_not_patterns() -> None:
    assert blocked("use c++ here", "c++")
    assert not blocked("use ccc here", "c++")
    assert not blocked("\u043a\u043e\u0442\u043e\u0440\u044b\u0439", "\u043a\u043e\u0442")
    assert blocked("\u0441\u0438\u043d\u0438\u0439 \u041a\u041e\u0422", "\u043a\u043e\u0442")


def test_a_word_is_whole_by_its_own_script_whatever_else_is_blocked() -> None:
    words = ("openai", "\u043a\u043e\u0442", "\u4eba\u5de5\u667a\u80fd")
    assert blocked("OpenAI\u7684\u6a21\u578b", *words)
    assert blocked("\u6211\u662f\u4eba\u5de5\u667a\u80fd\u6a21\u578b", *words)  # no spaces in Chinese
    assert not blocked("openair \u043a\u043e\u0442\u043e\u0440\u044b\u0439", *words)


def test_the_reason_names_the_word_and_where() -> None:
    reason = blocked_word((Message("user", "By OpenAI?"),), BlockedWordsConfig())
    assert reason is not None
    assert reason.detail == "message 1 (user) contains 'OpenAI'"
