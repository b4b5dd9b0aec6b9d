"""The figures of a report are those of the statistics; what was left out is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ochat_ray.eval.records import Answer, Judgment, Question
from ochat_ray.eval.report.beside import MOST_QUESTIONS, MOST_TEXT
from ochat_ray.eval.report.schema import Figure, Tally
from ochat_ray.eval.report.summary import summarise
from ochat_ray.eval.statistics.agreement import agreement
from ochat_ray.eval.statistics.grades import grade_figures
from ochat_ray.eval.statistics.length_control import length_controlled_win_rate
from ochat_ray.eval.statistics.pairs import Rule, for_people, pair_figures, pairs
from tests.eval.report.made import answers, full, grades, judgments, questions, uneven, verdicts


def of_model(found: Sequence[Judgment], model: str) -> list[Judgment]:
    return [one for one in found if one.model == model]


@pytest.mark.parametrize(
    ("found", "rule", "expected"),
    [(judgments(), None, "mean"), (judgments(), "agree", "agree"), (verdicts(), None, "agree")],
)
def test_figures_of_pairs_are_those_of_the_statistics(
    found: list[Judgment], rule: Rule | None, expected: Rule
) -> None:
    report = summarise(found, rule=rule)
    assert [one.model for one in report.pairs] == list(dict.fromkeys(one.model for one in found))
    for group in report.pairs:
        own = of_model(found, group.model)
        figures = pair_figures(own, expected)
        assert group.rule == expected
        assert group.win_rate == Figure.of(figures.win_rate_adjusted)
        assert group.percent == (figures.percent_of_baseline and Figure.of(figures.percent_of_baseline))
        assert group.tally == Tally.of(figures.counts)
        assert group.by_category == {name: Tally.of(one) for name, one in figures.by_category.items()}
        assert group.bias.conflicts == figures.conflicts > 0
        assert group.bias.model_first == figures.model_first.win_rate_adjusted
        assert group.unparsed == figures.unparsed
        assert [row.outcome for row in group.rows] == [row.outcome for row in pairs(own, expected)]
        doubtful = for_people(pairs(own, expected))
        assert [row.question for row in group.for_people] == [row.question for row in doubtful]


def test_figures_of_grades_are_those_of_the_statistics() -> None:
    found = grades()
    for group in summarise(found).grades:
        figures = grade_figures(of_model(found, group.model))
        assert group.average == Figure.of(figures.average)
        assert group.by_turn == {turn: Figure.of(one) for turn, one in figures.by_turn.items()}
        assert {row.grade for row in group.rows} == {figures.average.value}


def test_calibration_goes_from_one_order_and_sample_to_all() -> None:
    found = of_model(judgments(40, samples=5), "good")
    [group] = summarise(found).pairs
    assert [(one.orders, one.samples) for one in group.calibration] == [
        *(("model_first", 1), ("baseline_first", 1), ("both", 1), ("both", 2), ("both", 4)),
        *(("model_first", 5), ("baseline_first", 5), ("both", 5)),
    ]
    first, second, *_, both = group.calibration
    assert both.win_rate == group.win_rate and both.percent == group.percent
    part = pair_figures([one for one in found if one.swapped and one.sample == 0])
    assert second.percent == Figure.of(part.percent_of_baseline)
    assert first.percent.value > both.percent.value > second.percent.value  # the bias, and how it cancels


def test_one_order_and_sample_has_no_calibration() -> None:
    once = [one for one in judgments(samples=1) if not one.swapped]
    assert [one.calibration for one in summarise(once).pairs] == [(), ()]


def test_judges_are_compared_on_what_both_judged() -> None:
    first, second = judgments(), [one for one in judgments(judge="other", seed=1) if one.question != "q3"]
    [found] = summarise([*first, *second]).agreements
    labels = [
        {
            (model, row.question): str(row.outcome)
            for model in ("good", "fair")
            for row in pairs(of_model(one, model))
        }
        for one in (first, second)
    ]
    expected = agreement([labels[0][key] for key in labels[1]], list(labels[1].values()))
    assert (found.first, found.second, found.compared) == ("judge", "other", 22)
    assert found.same == 100 * expected.accuracy and found.kappa == pytest.approx(expected.kappa)


def test_lengths_are_characters_of_the_same_turn() -> None:
    [good, _] = summarise(judgments(), answers=answers()).pairs
    known = {(one.model, one.question): len(one.turns[0]) for one in answers()}
    for row in good.rows:
        assert row.characters == known["good", row.question]
        assert row.baseline_characters == known["base", row.question]


@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")
@pytest.mark.parametrize(
    ("found", "rule"), [(judgments(), "mean"), (judgments(), "agree"), (verdicts(), "agree")]
)
def test_length_controlled_rates_are_those_of_the_statistics(found: list[Judgment], rule: Rule) -> None:
    groups = summarise(found, answers=uneven(), rule=rule).pairs
    assert {one.model for one in groups} == {one.model for one in found}
    for group in groups:
        own, base = (
            {one.question: one for one in uneven() if one.model == name} for name in (group.model, "base")
        )
        expected = length_controlled_win_rate(of_model(found, group.model), own, base, rule=rule)
        assert group.length_controlled == Figure.of(expected.win_rate) != group.win_rate


def test_rates_are_not_length_controlled_without_all_answers() -> None:
    good, fair = summarise(judgments(), answers=uneven()[1:]).pairs
    assert good.length_controlled is None and fair.length_controlled is not None
    for known in ([], [one for one in uneven() if one.model != "base"]):
        assert [one.length_controlled for one in summarise(judgments(), answers=known).pairs] == [None, None]


def test_a_length_controlled_rate_that_would_be_an_extrapolation_is_left_out() -> None:
    """Of 80 answers all but `shorter` are longer than the baseline's."""
    for shorter, given in ((3, False), (12, True)):
        lengths = [
            Answer(f"q{n}", model, ("x" * size,))
            for n in range(80)
            for model, size in (("good", 1 if n < shorter else 50 + n), ("base", 10))
        ]
        [group] = summarise(verdicts(80), answers=lengths).pairs
        assert (group.length_controlled is not None) is given


def test_shares_have_a_mean_preference() -> None:
    shares = [Judgment(f"q{n}", "", "good", "base", "judge", n / 10, 1 - n / 10) for n in range(10)]
    [group] = summarise(shares).pairs
    assert group.preference.value == pytest.approx(45) and group.percent is None


def test_judgments_of_which_nothing_can_be_said_are_named() -> None:
    report = summarise([Judgment("q", "", "mute", None, "judge", None), *judgments()])
    [unread] = report.unread
    assert (unread.model, unread.baseline, unread.judgments, unread.unparsed) == ("mute", None, 1, 1)
    assert report.unparsed == 3 and len(report.pairs) == 2


def test_scores_of_zero_have_no_percentage() -> None:
    [group] = summarise(
        [Judgment("q", "", "m", "base", "judge", 0.0, 0.0, swapped=s) for s in (False, True)]
    ).pairs
    assert group.percent.value is None and group.tally == Tally(wins=0, ties=1, losses=0)


def test_texts_are_cut_and_few_questions_are_chosen_of_many() -> None:
    asked = [Question(f"q{n}", "", ("?" * (MOST_TEXT + 7),)) for n in range(MOST_QUESTIONS + 50)]
    judged = [Judgment(one.id, "", "good", "base", "judge", 1.0, 0.0) for one in asked]
    report = summarise(judged, questions=asked)
    assert report.questions == len(asked) and len(report.beside) == MOST_QUESTIONS
    assert report.beside[0].turns[0].endswith("[7 more characters]")
    assert [one.question for one in report.beside] == sorted(
        (one.question for one in report.beside), key=lambda name: int(name[1:])
    )


def test_a_page_has_no_more_text_than_a_browser_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ochat_ray.eval.report.beside.MOST_BYTES", 50_000)
    long = [Answer(one.id, "good", ("<" * 2000,)) for one in questions()]
    report = summarise(judgments(), answers=long, questions=questions())
    assert 0 < len(report.beside) < 7  # as HTML a `<` takes four bytes


def test_what_is_given_is_in_the_report() -> None:
    report = full()
    assert report.ratings[0].high is None and report.ratings[0].low == 1000
    assert [one.what for one in report.missing] == [f"question {n}" for n in range(7)]
    assert report.tasks[0].value == 0.5432 and report.bills[1].priced is False
