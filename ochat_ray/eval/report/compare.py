"""What differs between two reports: the same models, or one model of each, on the questions of both. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from ochat_ray.eval.report.schema import GradeGroup, PairGroup, Report
from ochat_ray.eval.statistics.bootstrap import Difference, paired_difference
from ochat_ray.html_page import shown

Key = tuple[str, int]
"""A question and turn; the turn of a grade, which is a mean over turns, is 1."""
Values = dict[Key, float]
HEAD = ("figure", "model", "before", "A", "B", "B - A", "95 % interval", "p", "questions")
TEXTS = 3  # columns of HEAD that are texts, to the left


@dataclass(frozen=True)
class Side:
    """What two reports can have in common: those who judged, and the figures of models before them."""

    before: str
    by_model: dict[str, dict[str, Values]]
    """Figures by model, then by name, each a value a question and turn."""
    rules: dict[str, str]
    """How orders make an outcome, by model."""


@dataclass(frozen=True)
class Compared:
    """A figure on the questions of both reports; A and B are its means there."""

    figure: str
    models: str
    before: str
    a: float
    b: float
    difference: Difference


def compare(a: Report, b: Report) -> str:
    """A table for people: every figure of a model that both have before the same judge and baseline, and
    the difference on shared questions, with its 95 % interval and the p-value of Wilcoxon's test.

    Where each has but one model before a judge and baseline, these two are compared whatever their names.
    """
    rows: list[Compared] = []
    notes: list[str] = []
    of_a, of_b = _sides(a), _sides(b)
    for key in dict.fromkeys([*of_a, *of_b]):
        if key in of_a and key in of_b:
            found, told = _compared(of_a[key], of_b[key])
            rows += found
            notes += told
        else:
            side, only = (of_a[key], "A") if key in of_a else (of_b[key], "B")
            notes += _alone(side, set(), only)
    lines = [
        f"{name}  {one.title}: {one.questions:,} questions; {one.about}" for name, one in (("A", a), ("B", b))
    ]
    if a.about != b.about:
        notes.insert(0, "A and B were made in different ways: what differs may be due to that")
    lines.append("")
    lines += _table(rows) if rows else ["Nothing can be compared: no question was judged alike in both."]
    if notes:
        lines += ["", *(f"note: {note}" for note in notes)]
    return "\n".join(shown(line) for line in lines)


def _compared(a: Side, b: Side) -> tuple[list[Compared], list[str]]:
    """All figures of the models that match, and what is to be said of the others."""
    rows: list[Compared] = []
    notes: list[str] = []
    matched = _matched(a, b)
    for first, second in matched:
        found = list(_differences(first, second, a, b))
        rows += found
        rules = a.rules.get(first), b.rules.get(second)
        if not found:
            notes.append(f"{_models(first, second)} {a.before}: no question is in both")
        elif rules[0] != rules[1]:
            notes.append(
                f"{_models(first, second)} {a.before}: orders make an outcome by the rule `{rules[0]}` in A, "
                f"`{rules[1]}` in B"
            )
    notes += _alone(a, {first for first, _ in matched}, "A")
    notes += _alone(b, {second for _, second in matched}, "B")
    return rows, notes


def _alone(side: Side, matched: set[str], only: str) -> list[str]:
    return [f"{model} {side.before}: in {only} only" for model in side.by_model if model not in matched]


def _sides(report: Report) -> dict[tuple[str | None, str], Side]:
    """By baseline and judge."""
    found: dict[tuple[str | None, str], Side] = {}
    for pairs in report.pairs:
        side = found.setdefault(
            (pairs.baseline, pairs.judge), Side(f"against {pairs.baseline}, by {pairs.judge}", {}, {})
        )
        side.by_model[pairs.model] = _pair_values(pairs)
        side.rules[pairs.model] = pairs.rule
    for grades in report.grades:
        side = found.setdefault((None, grades.judge), Side(f"by {grades.judge}", {}, {}))
        side.by_model[grades.model] = _grade_values(grades)
    return found


def _pair_values(group: PairGroup) -> dict[str, Values]:
    """The win rate by outcomes; and what the judge's scores or shares say beyond them."""
    found = {"win rate, %": {(row.question, row.turn): 100 * row.outcome for row in group.rows}}
    if group.scored:
        found["score"] = {(row.question, row.turn): row.value for row in group.rows}
    elif group.preference is not None:
        found["preference, %"] = {(row.question, row.turn): 100 * row.value for row in group.rows}
    return found


def _grade_values(group: GradeGroup) -> dict[str, Values]:
    return {"grade": {(row.question, 1): row.grade for row in group.rows}}


def _matched(a: Side, b: Side) -> list[tuple[str, str]]:
    """Models of the same name; else the only one of each."""
    same = [(model, model) for model in a.by_model if model in b.by_model]
    if not same and len(a.by_model) == len(b.by_model) == 1:
        return list(zip(a.by_model, b.by_model, strict=True))
    return same


def _differences(first: str, second: str, a: Side, b: Side) -> Iterator[Compared]:
    for figure, values_a in a.by_model[first].items():
        values_b = b.by_model[second].get(figure, {})
        shared = [key for key in values_a if key in values_b]
        if shared:
            mean_a, mean_b = (_by_question(values, shared) for values in (values_a, values_b))
            difference = paired_difference(np.array(mean_b), np.array(mean_a))
            yield Compared(figure, _models(first, second), a.before, fmean(mean_a), fmean(mean_b), difference)


def _by_question(values: Values, shared: Iterable[Key]) -> list[float]:
    """Turns of a question are one draw: their mean."""
    found: dict[str, list[float]] = defaultdict(list)
    for question, turn in shared:
        found[question].append(values[question, turn])
    return [fmean(turns) for turns in found.values()]


def _models(first: str, second: str) -> str:
    return first if first == second else f"{first} -> {second}"


def _table(rows: Iterable[Compared]) -> list[str]:
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(shown(row[at])) for row in cells) for at in range(len(HEAD))]
    return [
        "  ".join(
            f"{shown(cell):{'<' if at < TEXTS else '>'}{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cells(row: Compared) -> tuple[str, ...]:
    found = row.difference
    return (
        row.figure,
        row.models,
        row.before,
        f"{row.a:.2f}",
        f"{row.b:.2f}",
        f"{found.value:+.2f}",
        f"{found.low:+.2f} to {found.high:+.2f}",
        "<0.0001" if found.p_value < 0.0001 else f"{found.p_value:.4f}",
        f"{found.questions:,}",
    )
