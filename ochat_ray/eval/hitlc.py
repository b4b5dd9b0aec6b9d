"""Human in the loop calibration of a finished evaluation: its doubts go out, people's verdicts come back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ochat_ray.errors import DataError
from ochat_ray.eval.people import read_from_people, with_people, write_for_people
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.run import Outcome
from ochat_ray.eval.statistics.agreement import agreement
from ochat_ray.eval.statistics.pairs import OUTCOMES, Pair, Rule, for_people, pairs, rule_for, win_rate


class Chosen(NamedTuple):
    """Who is compared, and who judged; None for the only one there is."""

    model: str | None
    baseline: str | None
    judge: str | None


def write_doubts(file: Path, outcome: Outcome, rule: Rule | None, chosen: Chosen) -> str:
    """Write the questions of greatest entropy (Wang et al. 2023: 20 %) as a CSV; returns what to do with it.

    Raises DataError where a choice is needed, and where the judge is of one mind about everything.
    """
    judgments, rows = _compared(outcome, rule, chosen)
    doubtful = for_people(rows)
    if not doubtful:
        raise DataError(
            f"{judgments[0].judge} is of one mind about all {len(rows):,} questions; ask more samples"
        )
    questions = {question.id: question for question in outcome.questions}
    own, baseline = (outcome.answers[name] for name in (judgments[0].model, str(judgments[0].baseline)))
    write_for_people(file, doubtful, questions, own, baseline, _about(judgments[0]))
    return (
        f"{len(doubtful):,} of {len(rows):,} questions in {file}: fill in `winner` with 1, 2 or tie, and run "
        "the same command again"
    )


def calibrated(file: Path, outcome: Outcome, rule: Rule | None, chosen: Chosen) -> str:
    """The win rate with people's verdicts in place of the judge's, and how far both agree."""
    judgments, rows = _compared(outcome, rule, chosen)
    verdicts = read_from_people(file, _about(judgments[0]))
    if not verdicts:
        raise DataError(f"{file}: nobody filled in `winner`; write 1, 2 or tie into it")
    after = with_people(rows, verdicts)
    judged = [row for row in rows if (row.question, row.turn) in verdicts]
    said = agreement(
        [OUTCOMES[verdicts[row.question, row.turn]] for row in judged],
        [OUTCOMES[row.outcome] for row in judged],
    )
    return "\n".join(
        [
            _about(judgments[0]),
            f"win rate by the judge alone  {_rate(rows)}",
            f"win rate with people         {_rate(after)}",
            f"of {len(judged):,} questions that people judged they agree on {100 * said.accuracy:.0f} % "
            f"(Cohen's kappa {said.kappa:.2f})",
        ]
    )


def _compared(outcome: Outcome, rule: Rule | None, chosen: Chosen) -> tuple[list[Judgment], list[Pair]]:
    found = [one for one in outcome.judgments if one.baseline is not None]
    if not found:
        raise DataError("nothing was compared: people judge between two answers, not single ones")
    for option, name in chosen._asdict().items():
        only = _only(found, option, name)
        found = [one for one in found if getattr(one, option) == only]
    return found, pairs(found, rule or rule_for(found))


def _only(judgments: Sequence[Judgment], option: str, chosen: str | None) -> str:
    names = sorted({str(getattr(one, option)) for one in judgments})
    if chosen is None and len(names) == 1:
        return names[0]
    if chosen not in names:
        raise DataError(f"--{option} {chosen or 'is needed'}: there are {', '.join(names)}")
    return str(chosen)


def _about(one: Judgment) -> str:
    return f"{one.model} against {one.baseline}, judged by {one.judge}"


def _rate(rows: Sequence[Pair]) -> str:
    value, low, high = win_rate(rows)
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"
