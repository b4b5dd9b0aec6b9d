"""alpaca_eval's files: `model_outputs.json` and `annotations.json`, read and written."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ochat_ray.errors import DataError
from ochat_ray.eval.parse import letter
from ochat_ray.eval.records import Answer, Judgment, Question
from ochat_ray.manifest import write_json


class Compared(NamedTuple):
    """The answers that an `annotations.json` compares, by question."""

    model: dict[str, Answer]
    baseline: dict[str, Answer]


def is_switched(instruction: str) -> bool:
    """Whether alpaca_eval shows the judge output_2, the model's, first: drawn by the instruction."""
    return random.Random(f"is_switched_outputs{instruction}0").choices([False, True])[0]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON list. Raises DataError naming the file and what is wrong with it."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the path of a file") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: expected a JSON list of objects, as alpaca_eval writes")
    return rows


def read_outputs(path: Path) -> list[Answer]:
    """Answers of a `model_outputs.json`; a question's id is its place in the list, from 0."""
    found = []
    for index, row in enumerate(read_rows(path)):
        output, generator = (_text(row, name, f"{path}: entry {index}") for name in ("output", "generator"))
        found.append(Answer(str(index), generator, (output,)))
    return found


def write_outputs(path: Path, questions: Iterable[Question], answers: Mapping[str, Answer]) -> None:
    """A `model_outputs.json` of the questions that have an answer, in their order; `answers` by question."""
    rows = [
        {
            "dataset": question.category,
            "instruction": question.turns[0],
            "output": answers[question.id].turns[0],
            "generator": answers[question.id].model,
        }
        for question in questions
        if question.id in answers
    ]
    write_json(path, rows)


def read_annotations(path: Path) -> list[Judgment]:
    """Judgments of an `annotations.json`, by place in the list; a preference of null is unparsed.

    A preference is 1 for output_1, the baseline, and 2 for output_2, the model; 0 is a draw, as 1.5 is.
    Raises DataError with file, entry, field.
    """
    found = []
    for index, row in enumerate(read_rows(path)):
        preference = row.get("preference")
        if preference is not None and not (isinstance(preference, int | float) and 0 <= preference <= 2):
            raise DataError(f"{path}: entry {index}: preference {preference!r}: expected 0 to 2, or null")
        value = None if preference is None else (0.5 if preference == 0 else preference - 1)
        found.append(_judgment(index, row, value))
    return found


def read_completions(path: Path) -> list[Judgment]:
    """The judgments of an `annotations.json` read anew from the judge's raw completions (AlpacaEval 2).

    Of the probabilities of `m`, the output shown first, and `M` among the likeliest tokens, the model's share
    is its own part; which was shown first is drawn again. Rows without a raw completion are left out. Raises
    DataError with file, entry, field.
    """
    found = []
    for index, row in enumerate(read_rows(path)):
        if not row.get("raw_completion"):
            continue
        where = f"{path}: entry {index}"
        shown = letter("", _likeliest(row["raw_completion"], where))
        model_first = is_switched(_text(row, "instruction", where))
        value = None if shown is None else shown[0 if model_first else 1]
        found.append(_judgment(index, row, value, swapped=not model_first))
    return found


def read_compared(path: Path) -> Compared:
    """The outputs in an `annotations.json`, by place. Raises DataError with file, entry, field."""
    found = Compared({}, {})
    for index, row in enumerate(read_rows(path)):
        for name, answers in (("2", found.model), ("1", found.baseline)):
            output = _text(row, f"output_{name}", f"{path}: entry {index}")
            answers[str(index)] = Answer(str(index), str(row.get(f"generator_{name}", "")), (output,))
    return found


def _judgment(index: int, row: Mapping[str, Any], value: float | None, swapped: bool = False) -> Judgment:
    return Judgment(
        question=str(index),
        category=str(row.get("dataset", "")),
        model=str(row.get("generator_2", "")),
        baseline=str(row.get("generator_1", "")),
        judge=str(row.get("annotator", "")),
        value=value,
        against=None if value is None else 1 - value,
        swapped=swapped,
    )


def _likeliest(completion: Any, where: str) -> Sequence[tuple[str, float]]:
    try:
        tokens = completion["logprobs"]["content"][0]["top_logprobs"]
        return [(str(token["token"]), float(token["logprob"])) for token in tokens]
    except (KeyError, IndexError, TypeError, ValueError):
        raise DataError(
            f"{where}: raw_completion {str(completion)[:60]!r}: expected logprobs.content[0].top_logprobs"
        ) from None


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} {value!r}: expected a text")
    return value


def write_annotations(
    path: Path,
    questions: Mapping[str, Question],
    judgments: Iterable[Judgment],
    answers: Mapping[str, Answer],
    baseline: Mapping[str, Answer],
) -> None:
    """An `annotations.json` that alpaca_eval scores; everything by question."""
    rows = [
        {
            "instruction": questions[one.question].turns[0],
            "output_1": baseline[one.question].turns[0],
            "generator_1": one.baseline,
            "dataset": one.category,
            "output_2": answers[one.question].turns[0],
            "generator_2": one.model,
            "annotator": one.judge,
            "preference": None if one.value is None else one.value + 1,
        }
        for one in judgments
    ]
    write_json(path, rows)
