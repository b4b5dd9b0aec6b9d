"""Judgments and reports to test with: two models against a baseline, in both orders, by a moody judge."""

from __future__ import annotations

import random
from functools import cache
from types import SimpleNamespace

from ochat_ray.eval.records import Answer, Judgment, Question
from ochat_ray.eval.report.schema import Report
from ochat_ray.eval.report.summary import summarise

NASTY = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "</textarea></title><svg onload=alert(3)>",
    "\" onmouseover='alert(4)' {{ 7 * 7 }} {% raw %} &lt;b&gt;",
    "<!-- <style>*{display:none}</style>",
    "\x00\x1b[31m\u202eevil\ud800",
)
ALL_NASTY = " ".join(NASTY)
MODELS = ("good", "fair")
SKILL = {"good": 8, "fair": 6}


def questions(count: int = 12) -> list[Question]:
    return [Question(f"q{n}", ("writing", "math")[n % 2], (f"What about {n}?",)) for n in range(count)]


def answers(count: int = 12, names: tuple[str, ...] = (*MODELS, "base")) -> list[Answer]:
    return [
        Answer(f"q{n}", model, (f"{model} says " + "word " * (n + len(model)),))
        for model in names
        for n in range(count)
    ]


def uneven(count: int = 12) -> list[Answer]:
    """Answers of lengths that go up and down, the baseline's differently."""
    return [
        Answer(f"q{n}", model, ("word " * (1 + n * step % 11),))
        for model, step in zip((*MODELS, "base"), (2, 3, 5), strict=True)
        for n in range(count)
    ]


def judgments(count: int = 12, *, samples: int = 2, judge: str = "judge", seed: int = 0) -> list[Judgment]:
    """The judge favours what it reads first by a point; one reply of the first question is not understood."""
    chance = random.Random(seed)
    found = []
    for question in questions(count):
        for model in MODELS:
            for swapped in (False, True):
                for sample in range(samples):
                    value = SKILL[model] + chance.choice((-1, 0, 1)) + (not swapped)
                    against = 7 + chance.choice((-1, 0, 1)) + swapped
                    lost = question.id == "q0" and swapped and sample == 0
                    found.append(
                        Judgment(
                            question=question.id,
                            category=question.category,
                            model=model,
                            baseline="base",
                            judge=judge,
                            value=None if lost else float(value),
                            against=None if lost else float(against),
                            swapped=swapped,
                            sample=sample,
                            text=f"I compared {model} on {question.id}.",
                        )
                    )
    return found


def verdicts(count: int = 12, *, judge: str = "verdicts") -> list[Judgment]:
    """Wins, losses and ties in turn; every third question by order."""
    found = []
    for n, question in enumerate(questions(count)):
        for swapped in (False, True):
            value = float(swapped) if n % 3 == 0 else (1.0, 0.5)[n % 2]
            found.append(
                Judgment(
                    question.id, question.category, "good", "base", judge, value, 1 - value, swapped=swapped
                )
            )
    return found


def grades(count: int = 12) -> list[Judgment]:
    return [
        Judgment(question.id, question.category, model, None, "grader", float(SKILL[model] - turn), turn=turn)
        for question in questions(count)
        for model in MODELS
        for turn in (1, 2)
    ]


@cache
def full(nasty: str = "") -> Report:
    """A report in which every section has content; `nasty` is in every text of other people."""
    marked = [
        Judgment(**{**_fields(one), "model": one.model + nasty, "judge": one.judge + nasty})
        for one in (*judgments(), *judgments(judge="other", seed=1), *grades(), *verdicts())
    ]
    unread = Judgment("q1", "math" + nasty, "mute" + nasty, "base", "judge", None, text="No." + nasty)
    return summarise(
        [*marked, unread],
        answers=[
            Answer(one.question, one.model + nasty * (one.model != "base"), (one.turns[0] + nasty,))
            for one in answers()
        ],
        questions=[Question(one.id, one.category + nasty, (one.turns[0] + nasty,)) for one in questions()],
        title="Of all" + nasty,
        ratings=[
            SimpleNamespace(model="good" + nasty, rating=1100.0, low=1000.0, high=float("inf"), games=9)
        ],
        tasks=[
            SimpleNamespace(
                model="good", task="mmlu" + nasty, metric="acc", value=0.5432, standard_error=0.01
            )
        ],
        missing=[SimpleNamespace(name="judge", what=f"question {n}" + nasty, why="429") for n in range(7)],
        bills=[
            SimpleNamespace(
                name=name,
                replies=2,
                input_tokens=1000,
                output_tokens=200,
                seconds=3.5,
                cost=0.25 * priced,
                priced=priced,
            )
            for name, priced in (("judge" + nasty, True), ("own", False))
        ],
    )


def _fields(judgment: Judgment) -> dict[str, object]:
    return {name: getattr(judgment, name) for name in Judgment.__slots__}
