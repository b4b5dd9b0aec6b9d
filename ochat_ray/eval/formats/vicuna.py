"""Reviews of the Vicuna blog and of those who followed it (QLoRA, OpenChat): one JSON object a question."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Answer, Judgment
from ochat_ray.json_lines import read_json_lines

WINNER = {1: 1.0, 2: 0.0, 3: 0.5}  # of the answer shown first: three-class reviews


def read_answers(path: Path) -> dict[str, Answer]:
    """Answers of the form {answer_id, model_id, question_id, text}, by their own ids."""
    found = {}
    for line, row in read_json_lines(path):
        where = f"{path}:{line}"
        answer = Answer(
            str(_field(row, "question_id", where)),
            str(_field(row, "model_id", where)),
            (str(_field(row, "text", where)),),
        )
        found[str(_field(row, "answer_id", where))] = answer
    return found


def read_reviews(
    path: Path,
    *,
    model: str,
    baseline: str,
    judge: str,
    baseline_ids: Collection[str] | None = None,
    categories: Mapping[str, str] | None = None,
) -> list[Judgment]:
    """Reviews of two answers: `score` is a pair of scores, or 1, 2 or 3 (first, second, tie); -1 is unparsed.

    `judge` is the model that judged: `reviewer_id` tells only its prompts apart, one a kind of question.
    The order is told by the ids of the baseline's answers; without them the baseline is the first.
    Raises DataError with file, line and field.
    """
    found = []
    for line, row in read_json_lines(path):
        where = f"{path}:{line}"
        swapped = True
        if baseline_ids is not None:
            sides = [_field(row, f"answer{side}_id", where) in baseline_ids for side in (1, 2)]
            if sides[0] is sides[1]:
                raise DataError(
                    f"{where}: answer1_id, answer2_id: one of them must be the baseline's, {baseline}"
                )
            swapped = sides[0]
        first, second = _scores(_field(row, "score", where), where)
        question = str(_field(row, "question_id", where))
        found.append(
            Judgment(
                question=question,
                category=(categories or {}).get(question, ""),
                model=model,
                baseline=baseline,
                judge=judge,
                value=second if swapped else first,
                against=first if swapped else second,
                swapped=swapped,
                text=str(row.get("text", "")),
            )
        )
    return found


def _scores(score: Any, where: str) -> tuple[float, float] | tuple[None, None]:
    if isinstance(score, list) and len(score) == 2 and all(isinstance(one, int | float) for one in score):
        return (None, None) if score == [-1, -1] else (float(score[0]), float(score[1]))
    if score == -1:
        return None, None
    if isinstance(score, int) and score in WINNER:
        return WINNER[score], 1 - WINNER[score]
    raise DataError(f"{where}: score {score!r}: expected two numbers, or 1, 2 or 3, or -1 for unparsed")


def _field(row: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in row:
        raise DataError(f"{where}: {name} is missing; is this a file of the Vicuna benchmark?")
    return row[name]
