"""Texts laid out: alike ones together, the same every time, and anything at all accepted."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import asdict

import pytest

pytest.importorskip("sklearn", reason="the map needs scikit-learn: install ochat-ray[data]")

from ochat_ray.data.report.map import NO_WORDS, TEXT_CHARS, Placed, place
from ochat_ray.data.report.words import words

THEMES = {
    "cooking": "recipe oven butter flour sugar bake dough kitchen salt pepper",
    "python": "def import return print list dict class lambda numpy array",
    "law": "court judge contract plaintiff statute liability appeal verdict clause tort",
    "chinese": "\u4eba\u5de5\u667a\u80fd \u673a\u5668\u5b66\u4e60 \u6570\u636e\u5206\u6790 "
    "\u795e\u7ecf\u7f51\u7edc \u6a21\u578b\u8bad\u7ec3 \u81ea\u7136\u8bed\u8a00 \u7b97\u6cd5\u4f18\u5316",
}


def texts(number: int) -> tuple[list[str], list[str]]:
    """Texts of the themes in turn, and the theme of each."""
    chance = random.Random(7)
    themes = [list(THEMES)[n % len(THEMES)] for n in range(number)]
    return [" ".join(chance.choices(THEMES[theme].split(), k=12)) for theme in themes], themes


def check(placed: Placed, number: int) -> None:
    assert len(placed.x) == len(placed.y) == len(placed.topic) == number
    assert all(0 <= value <= 1 and round(value, 4) == value for value in placed.x + placed.y)
    assert set(placed.topic) == set(range(len(placed.topics)))


def test_themes_lie_apart_and_are_named_by_their_words() -> None:
    given, themes = texts(160)
    placed = place(given, seed=1)
    check(placed, 160)
    for name, number in Counter(placed.topic).items():
        within = Counter(theme for theme, topic in zip(themes, placed.topic, strict=True) if topic == name)
        theme, most = within.most_common(1)[0]
        assert most == number
        spoken = " ".join(words(THEMES[theme]))
        assert all(word in spoken for word in placed.topics[name].split(", "))
    sizes = Counter(placed.topic)
    assert [sizes[n] for n in range(len(sizes))] == sorted(sizes.values(), reverse=True)

    def apart(one: int, other: int) -> float:
        return (placed.x[one] - placed.x[other]) ** 2 + (placed.y[one] - placed.y[other]) ** 2

    nearest = [min((n for n in range(160) if n != here), key=lambda n: apart(here, n)) for here in range(160)]
    assert sum(themes[here] == themes[there] for here, there in enumerate(nearest)) >= 156


def test_same_bytes_with_any_number_of_threads_and_any_kernels() -> None:
    code = (
        "import json, sys; from ochat_ray.data.report.map import place; from dataclasses import asdict;"
        "print(json.dumps(asdict(place(json.load(sys.stdin), 3))))"
    )
    given, _ = texts(120)
    here = json.dumps(asdict(place(given, 3)))
    settings = [
        {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"},
        # What another CPU would choose; without effect where BLAS is not OpenBLAS.
        {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Prescott"},
    ]
    digests = {hashlib.sha256(here.encode()).hexdigest()}
    for setting in settings:
        run = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(given),
            env={**os.environ, **setting},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(hashlib.sha256(run.stdout.strip().encode()).hexdigest())
    assert len(digests) == 1


def test_seed_matters_and_text_beyond_the_limit_does_not() -> None:
    given, _ = texts(60)
    given = [text + " x" * TEXT_CHARS for text in given]
    assert place(given, 1) == place([text + " recipe" * 50 for text in given], 1)
    assert place(given, 1) != place(given, 2)


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["one text alone"],
        ["one text", "and another"],
        ["sort a list", "bake bread", "12 + 3", "", "a"],
        ["all the same text"] * 80,
        ["1 2 3", "...", "\U0001f600"] * 20,
        ["", " ", "\n"],
        ["python list"] * 3 + ["\u4f60\u597d\u4e16\u754c"] * 3,
        ["</script>\u2028\x00\u202e"] * 6,
    ],
    ids=["none", "one", "two", "five", "equal", "no words", "blank", "two kinds", "nasty"],
)
def test_any_texts_are_placed(given: list[str]) -> None:
    placed = place(given, seed=1)
    check(placed, len(given))
    assert placed == place(given, seed=1)


def test_texts_without_words_are_a_topic_of_their_own_and_the_last() -> None:
    placed = place(["sort a python list", "sort python lists", "?", "bake some bread", "12"], seed=1)
    assert placed.topics[-1] == NO_WORDS
    assert [topic == len(placed.topics) - 1 for topic in placed.topic] == [False, False, True, False, True]


def test_topics_are_not_named_by_words_that_say_nothing() -> None:
    given = [
        f"que es el {word} de la ciudad y como se hace un {word}" for word in ("pan", "queso", "vino")
    ] * 20
    given += [f"was ist das {word} und wie ist es mit dem {word}" for word in ("Brot", "Bier", "Wein")] * 20
    named = {word for name in place(given, seed=1).topics for word in name.split(", ")}
    assert {"pan", "brot"} <= named
    assert not named & {"es", "el", "la", "que", "ist", "das", "und", "dem"}


def test_words_that_two_of_few_texts_share_place_them() -> None:
    given, _ = texts(80)
    placed = place([*given, "zymurgy quixotic", "quixotic zymurgy"], seed=1)
    assert NO_WORDS not in placed.topics


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't use snake_case, see https://a.example/x?y", ["use", "snake", "case", "see"]),
        ("x = f(10) + C++", []),
        ("na\u00efve caf\u00e9", ["na\u00efve", "caf\u00e9"]),
        ("\u6211\u4eec\u7684\u4e16\u754c\u5730\u56fe", ["\u4e16\u754c", "\u754c\u5730", "\u5730\u56fe"]),
        ("\u30c6\u30b9\u30c8\u3067\u3059", ["\u30c6\u30b9", "\u30b9\u30c8"]),
        (
            "\u091a\u0930\u0923 \u0938\u092e\u091d\u0928\u093e",
            ["\u091a\u0930\u0923", "\u0938\u092e\u091d\u0928\u093e"],
        ),
        ("\uc548\ub155 \uc138\uacc4", ["\uc548\ub155", "\uc138\uacc4"]),
    ],
)
def test_words_of_any_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected
