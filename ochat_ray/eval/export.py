"""An evaluation as files that FastChat and alpaca_eval read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from ochat_ray.errors import DataError
from ochat_ray.eval.formats import alpaca, fastchat
from ochat_ray.eval.names import file_name
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.run import Outcome
from ochat_ray.eval.statistics.pairs import outcome as outcome_of

Format = Literal["fastchat", "alpaca_eval"]


def export(outcome: Outcome, folder: Path, form: Format) -> list[Path]:
    """Write answers and judgments; returns the files.

    `fastchat`: model_answer/MODEL.jsonl, model_judgment/JUDGE_single.jsonl and JUDGE_pair.jsonl.
    `alpaca_eval`: MODEL/model_outputs.json and, of judgments against a baseline, MODEL/annotations.json: the
    mean over orders and samples, where scores count by who has more. Raises DataError where there is nothing
    to write, and for several judges, baselines or turns, which alpaca_eval does not know.
    """
    if not any(outcome.answers.values()):
        raise DataError(f"{folder}: there is no answer to export")
    return _fastchat(outcome, folder) if form == "fastchat" else _alpaca_eval(outcome, folder)


def _fastchat(outcome: Outcome, folder: Path) -> list[Path]:
    written = []
    for model, answers in outcome.answers.items():
        written.append(folder / "model_answer" / f"{file_name(model)}.jsonl")
        fastchat.write_answers(written[-1], answers.values())
    kinds: tuple[tuple[str, bool, Callable[[Path, Sequence[Judgment]], None]], ...] = (
        ("single", False, fastchat.write_grades),
        ("pair", True, fastchat.write_verdicts),
    )
    for name, pairwise, write in kinds:
        by_judge: dict[str, list[Judgment]] = defaultdict(list)
        for one in outcome.judgments:
            if (one.baseline is not None) is pairwise and one.sample == 0:
                by_judge[one.judge].append(one)
        for judge, judgments in by_judge.items():
            written.append(folder / "model_judgment" / f"{file_name(judge)}_{name}.jsonl")
            write(written[-1], judgments)
    return written


def _alpaca_eval(outcome: Outcome, folder: Path) -> list[Path]:
    if any(len(question.turns) > 1 for question in outcome.questions):
        raise DataError(f"{folder}: alpaca_eval knows questions of one turn only; export as fastchat")
    for what in ("judge", "baseline"):
        names = {str(getattr(one, what)) for one in outcome.judgments}
        if len(names) > 1:
            raise DataError(f"{folder}: alpaca_eval knows one {what}, there are {', '.join(sorted(names))}")
    written = []
    questions = {question.id: question for question in outcome.questions}
    for model, answers in outcome.answers.items():
        written.append(folder / file_name(model) / "model_outputs.json")
        alpaca.write_outputs(written[-1], outcome.questions, answers)
        for baseline, judgments in _against(outcome.judgments, model).items():
            written.append(folder / file_name(model) / "annotations.json")
            given = outcome.answers.get(baseline)
            if given is None:
                raise DataError(f"{folder}: no answers of {baseline}; give their file in eval.answers")
            alpaca.write_annotations(written[-1], questions, judgments, answers, given)
    return written


def _against(judgments: Sequence[Judgment], model: str) -> dict[str, list[Judgment]]:
    """A model's judgments by baseline, one a question."""
    found: dict[str, dict[str, list[Judgment]]] = defaultdict(lambda: defaultdict(list))
    for one in judgments:
        if one.model == model and one.baseline is not None:
            found[one.baseline][one.question].append(one)
    return {baseline: list(map(_merged, parts.values())) for baseline, parts in found.items()}


def _merged(judgments: Sequence[Judgment]) -> Judgment:
    """The mean share of the model over orders and samples."""
    shares = [_share(one.value, one.against) for one in judgments if one.value is not None]
    value = fmean(shares) if shares else None
    return replace(judgments[0], value=value, against=None if value is None else 1 - value, text="")


def _share(value: float, against: float | None) -> float:
    assert against is not None
    return value if value + against == 1 else outcome_of(value, against)
