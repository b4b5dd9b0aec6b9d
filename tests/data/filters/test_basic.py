"""Length, roles and models."""

from __future__ import annotations

import pytest

from ochat_ray.config.filters import LengthConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.basic import empty_answer, is_model, model_not_wanted, wrong_length

TALK = (Message("system", "s" * 50), Message("user", "ab"), Message("assistant", "cde"))


@pytest.mark.parametrize(
    ("settings", "reason", "words"),
    [
        ({}, None, ""),
        ({"min_messages": 2, "max_messages": 2, "max_chars": 5, "min_answer_chars": 3}, None, ""),
        (
            {"min_messages": 3},
            "too_short",
            "2 messages after repair, fewer than filters.length.min_messages = 3",
        ),
        ({"max_messages": 1}, "too_long", "more than filters.length.max_messages = 1"),
        ({"min_answer_chars": 4}, "too_short", "3 characters of answers, fewer than"),
        ({"max_chars": 4}, "too_long", "5 characters, more than filters.length.max_chars = 4"),
    ],
)
def test_lengths_do_not_count_the_system(settings: dict[str, int], reason: str | None, words: str) -> None:
    found = wrong_length(TALK, LengthConfig.model_validate(settings))
    assert (found.reason if found else None) == reason
    assert words in (found.detail if found else "")


def test_answers_must_say_something_and_people_need_not() -> None:
    assert empty_answer((Message("user", " "), Message("assistant", "a"))) is None
    found = empty_answer((Message("user", "a"), Message("assistant", " \n")))
    assert found is not None and found.detail == "message 2 (assistant) has no text"


def test_wanted_models_are_exact() -> None:
    assert model_not_wanted("Model: GPT-4", ("Model: GPT-4",)) is None
    assert model_not_wanted(None, ()) is None
    for label in ("GPT-4", "Model: GPT-4 (Mobile)", "model: gpt-4", None):
        reason = model_not_wanted(label, ("Model: GPT-4",))
        assert reason is not None and reason.reason == "model"


@pytest.mark.parametrize(
    ("label", "patterns", "fits"),
    [
        ("Model: GPT-4 (Mobile)", ("Model: GPT-4*",), True),
        ("Model: GPT-3.5", ("Model: GPT-4*",), False),
        ("gpt-3.5", ("gpt-?.5",), True),
        ("gpt-3x5", ("gpt-3.5",), False),
        ("Model: Default [3.5]", ("Model: Default [3.5]",), True),
        ("x", ("a", "x"), True),
        (None, ("*",), True),
        (None, ("Model*",), False),
        ("x", (), False),
    ],
)
def test_patterns_of_models(label: str | None, patterns: tuple[str, ...], fits: bool) -> None:
    assert is_model(label, patterns) is fits
