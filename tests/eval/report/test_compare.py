"""Two reports compared: the same numbers as a direct computation, and a clear line where there is none."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np

from ochat_ray.eval.records import Judgment
from ochat_ray.eval.report.compare import compare
from ochat_ray.eval.report.summary import summarise
from ochat_ray.eval.statistics.bootstrap import paired_difference
from ochat_ray.eval.statistics.pairs import pairs
from tests.eval.report.made import grades, judgments


def only(found: list[Judgment], model: str) -> list[Judgment]:
    return [one for one in found if one.model == model]


def rows(table: str, figure: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith(figure)]


def test_difference_interval_and_p_value_are_of_the_shared_questions() -> None:
    before, after = judgments(40), [one for one in judgments(40, seed=5) if one.question != "q9"]
    table = compare(summarise(before), summarise(after))
    for model in ("good", "fair"):
        a = {row.question: 100 * row.outcome for row in pairs(only(before, model))}
        b = {row.question: 100 * row.outcome for row in pairs(only(after, model))}
        expected = paired_difference(np.array(list(b.values())), np.array([a[name] for name in b]))
        [line] = [line for line in rows(table, "win rate, %") if model in line]
        assert line.split()[3:] == [
            *(model, "against", "base,", "by", "judge"),
            f"{fmean(a[name] for name in b):.2f}",
            f"{fmean(b.values()):.2f}",
            f"{expected.value:+.2f}",
            f"{expected.low:+.2f}",
            "to",
            f"{expected.high:+.2f}",
            f"{expected.p_value:.4f}",
            "39",
        ]
    assert len(rows(table, "score")) == 2 and "note:" not in table


def test_turns_of_a_question_are_one_draw() -> None:
    better = [replace(one, value=(one.value or 0) + (one.question != "q0")) for one in grades()]
    table = compare(summarise(grades()), summarise(better))
    [line] = [line for line in rows(table, "grade") if "good" in line]
    assert "6.50" in line and "7.42" in line and line.endswith(" 12")


def test_the_only_models_of_two_reports_are_compared() -> None:
    table = compare(summarise(only(judgments(), "good")), summarise(only(judgments(), "fair")))
    assert len(rows(table, "win rate")) == 1 and "good -> fair" in table
    alone = compare(summarise(only(judgments(), "good")), summarise(judgments(judge="other")))
    assert "Nothing can be compared" in alone and "fair against base, by other: in B only" in alone


def test_what_is_in_one_report_only_is_named() -> None:
    table = compare(summarise(judgments()), summarise(only(judgments(), "good")))
    assert "fair against base, by judge: in A only" in table and "1.0000" in table


def test_reports_of_different_questions_are_told_apart() -> None:
    others = [replace(one, question=f"other {one.question}") for one in judgments()]
    table = compare(summarise(judgments()), summarise(others))
    assert (
        "Nothing can be compared" in table and "good against base, by judge: no question is in both" in table
    )


def test_empty_reports_and_names_for_a_terminal() -> None:
    assert "Nothing can be compared" in compare(summarise([]), summarise([]))
    odd = [replace(one, model="\x1b[31mred") for one in only(judgments(), "good")]
    assert "\x1b" not in compare(summarise(odd), summarise(odd))


def test_other_rules_for_outcomes_are_told() -> None:
    table = compare(summarise(judgments(), rule="mean"), summarise(judgments(), rule="agree"))
    assert len(rows(table, "win rate")) == 2
    assert (
        "good against base, by judge: orders make an outcome by the rule `mean` in A, `agree` in B" in table
    )


def test_what_was_made_in_different_ways_is_told() -> None:
    one, other = (summarise(judgments(), title=name, about=name) for name in ("score", "verdict"))
    table = compare(one, other)
    assert "A  score: " in table and "questions; verdict" in table
    assert "note: A and B were made in different ways" in table
    assert "different ways" not in compare(one, one)
