"""Judgments to a report: every figure of every model, before each baseline and judge. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, median

from ochat_ray.eval.records import Answer, Judgment, Question
from ochat_ray.eval.report.beside import side_by_side
from ochat_ray.eval.report.disagreement import judge_agreements
from ochat_ray.eval.report.groups import Answers, grade_group, pair_group
from ochat_ray.eval.report.schema import (
    Bill,
    GradeGroup,
    Lengths,
    Missing,
    PairGroup,
    Published,
    Rating,
    Report,
    Task,
    Unread,
)
from ochat_ray.eval.statistics.pairs import Rule


def summarise(
    judgments: Iterable[Judgment],
    *,
    answers: Iterable[Answer] = (),
    questions: Iterable[Question] = (),
    rule: Rule | None = None,
    title: str = "Evaluation",
    about: str = "",
    published: Iterable[Published] = (),
    ratings: Iterable[object] = (),
    tasks: Iterable[object] = (),
    missing: Iterable[object] = (),
    bills: Iterable[object] = (),
) -> Report:
    """The report of all judgments.

    `rule` says how the orders of a question become one outcome; None for agreement of verdicts and the mean
    of scores. Without `answers` and `questions` there are no lengths and no texts but the judges'. The last
    four are shown as they are: any objects with the fields of the schema's `Rating`, `Task`, `Missing` and
    `Bill`.
    """
    found = list(judgments)
    by_answer = {(answer.model, answer.question): answer for answer in answers}
    by_question = {question.id: question for question in questions}
    groups: dict[tuple[str, str | None, str], list[Judgment]] = defaultdict(list)
    for judgment in found:
        groups[judgment.model, judgment.baseline, judgment.judge].append(judgment)
    made = [_group(group, rule, by_answer) for group in groups.values()]
    pair_groups = [one for one in made if isinstance(one, PairGroup)]
    judged = {judgment.question for judgment in found}
    order = list(dict.fromkeys([*(q for q in by_question if q in judged), *(j.question for j in found)]))
    doubtful = sorted((row for one in pair_groups for row in one.for_people), key=lambda row: -row.bpde)
    return Report(
        title=title,
        about=about,
        questions=len(order),
        judgments=len(found),
        unparsed=sum(judgment.value is None for judgment in found),
        pairs=tuple(pair_groups),
        grades=tuple(one for one in made if isinstance(one, GradeGroup)),
        unread=tuple(one for one in made if isinstance(one, Unread)),
        agreements=tuple(judge_agreements(pair_groups)),
        lengths=tuple(_lengths(by_answer, judged)),
        beside=side_by_side(found, by_answer, by_question, order, (row.question for row in doubtful)),
        published=tuple(published),
        ratings=tuple(map(Rating.model_validate, ratings)),
        tasks=tuple(map(Task.model_validate, tasks)),
        missing=tuple(map(Missing.model_validate, missing)),
        bills=tuple(map(Bill.model_validate, bills)),
    )


def _group(group: Sequence[Judgment], rule: Rule | None, answers: Answers) -> PairGroup | GradeGroup | Unread:
    first = group[0]
    made = grade_group(group) if first.baseline is None else pair_group(group, rule, answers)
    return made or Unread(
        model=first.model,
        baseline=first.baseline,
        judge=first.judge,
        judgments=len(group),
        unparsed=sum(j.value is None for j in group),
    )


def _lengths(answers: Answers, judged: set[str]) -> Iterator[Lengths]:
    found: dict[str, list[int]] = defaultdict(list)
    for (model, question), answer in answers.items():
        if question in judged:
            found[model].append(sum(map(len, answer.turns)))
    for model, counts in found.items():
        yield Lengths(model=model, answers=len(counts), mean=fmean(counts), median=median(counts))
