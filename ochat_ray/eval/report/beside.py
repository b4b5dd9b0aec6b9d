"""Which questions a report holds in full, with all answers and what the judges said. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import escape

from ochat_ray.eval.records import Answer, Judgment, Question
from ochat_ray.eval.report.schema import Said, Shown, SideBySide

MOST_QUESTIONS = 200
MOST_BYTES = 10_000_000
"""Of all texts together as HTML: a page of more is slow to open."""
MARKUP_BYTES = 400
"""Of HTML around a text, about."""
MOST_SAMPLES = 3
"""Replies to one request of a judge."""
MOST_TEXT = 6_000
"""Characters of one text; what is cut is told."""


def side_by_side(
    judgments: Iterable[Judgment],
    answers: Mapping[tuple[str, str], Answer],
    questions: Mapping[str, Question],
    order: Sequence[str],
    doubtful: Iterable[str],
) -> tuple[SideBySide, ...]:
    """Questions in their order: all if they are few, else the most doubtful ones and a spread of the rest."""
    said: dict[str, list[Judgment]] = {name: [] for name in chosen(order, doubtful)}
    for judgment in judgments:
        if judgment.question in said and judgment.sample < MOST_SAMPLES:
            said[judgment.question].append(judgment)
    found: dict[str, SideBySide] = {}
    room = MOST_BYTES
    for name, replies in said.items():
        one = _one(name, replies, answers, questions.get(name))
        room -= _size(one)
        if room < 0 and found:
            break
        found[name] = one
    return tuple(found[name] for name in order if name in found)


def chosen(order: Sequence[str], doubtful: Iterable[str]) -> list[str]:
    """At most `MOST_QUESTIONS`, the more telling ones first; half of them at most for being doubtful."""
    if len(order) <= MOST_QUESTIONS:
        return list(order)
    first = list(dict.fromkeys(doubtful))[: MOST_QUESTIONS // 2]
    taken = set(first)
    others = [name for name in order if name not in taken]
    wanted = MOST_QUESTIONS - len(first)
    return first + [others[at * len(others) // wanted] for at in range(wanted)]


def _one(
    name: str,
    replies: Sequence[Judgment],
    answers: Mapping[tuple[str, str], Answer],
    question: Question | None,
) -> SideBySide:
    by_model: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in replies:
        by_model[judgment.model].append(judgment)
    baselines = dict.fromkeys(j.baseline for j in replies if j.baseline is not None)
    models = [model for model in baselines if model not in by_model] + list(by_model)
    return SideBySide(
        question=name,
        category=question.category if question else replies[0].category if replies else "",
        turns=tuple(map(cut, question.turns)) if question else (),
        answers=tuple(
            Shown(
                model=model,
                turns=tuple(map(cut, answers[model, name].turns)) if (model, name) in answers else (),
                said=tuple(map(_said, sorted(by_model.get(model, ()), key=_place))),
            )
            for model in models
        ),
    )


def _place(judgment: Judgment) -> tuple[str, str, int, bool, int]:
    return judgment.judge, judgment.baseline or "", judgment.turn, judgment.swapped, judgment.sample


def _said(judgment: Judgment) -> Said:
    return Said(
        judge=judgment.judge,
        baseline=judgment.baseline,
        turn=judgment.turn,
        swapped=judgment.swapped,
        sample=judgment.sample,
        value=judgment.value,
        against=judgment.against,
        text=cut(judgment.text),
    )


def cut(text: str) -> str:
    """A text, or its start with how much more there is."""
    more = len(text) - MOST_TEXT
    return text if more <= 0 else f"{text[:MOST_TEXT]}\u2026 [{more:,} more characters]"


def _size(one: SideBySide) -> int:
    """Bytes on the page, about."""
    texts = [*one.turns]
    for answer in one.answers:
        texts += [*answer.turns, *(reply.text for reply in answer.said)]
    return sum(MARKUP_BYTES + len(str(escape(text)).encode()) for text in texts)
