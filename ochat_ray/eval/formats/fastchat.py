"""FastChat's files: `model_answer` and `model_judgment` of MT-bench and Vicuna-bench, read and written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Answer, Judgment
from ochat_ray.json_lines import read_json_lines, write_json_lines
from ochat_ray.manifest import digest


def read_answers(path: Path) -> list[Answer]:
    """Answers of a `model_answer` file: the first choice of each."""
    found = []
    for line, row in read_json_lines(path):
        try:
            turns = tuple(map(str, row["choices"][0]["turns"]))
            found.append(Answer(str(row["question_id"]), str(row["model_id"]), turns))
        except (LookupError, TypeError) as error:
            raise DataError(f"{path}:{line}: {error!r}: not a line of FastChat's model_answer") from None
    return found


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """A `model_answer` file. Ids of answers come of their content, so that equal answers make equal files."""
    rows = (
        {
            "question_id": _number(one.question),
            "answer_id": digest([one.question, one.model, one.turns])[:22],
            "model_id": one.model,
            "choices": [{"index": 0, "turns": list(one.turns)}],
            "tstamp": time.time(),
        }
        for one in answers
    )
    write_json_lines(path, rows)


def read_grades(path: Path, categories: Mapping[str, str] | None = None) -> list[Judgment]:
    """Grades of a `*_single.jsonl`; -1 is unparsed."""
    found = []
    for line, row in read_json_lines(path):
        try:
            question, score = str(row["question_id"]), float(row["score"])
            found.append(
                Judgment(
                    question=question,
                    category=(categories or {}).get(question, ""),
                    model=str(row["model"]),
                    baseline=None,
                    judge=str(row["judge"][0]),
                    value=None if score == -1 else score,
                    turn=int(row["turn"]),
                    text=str(row.get("judgment", "")),
                )
            )
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"{path}:{line}: {error!r}: not a line of FastChat's model_judgment") from None
    return found


def write_grades(path: Path, judgments: Iterable[Judgment]) -> None:
    """A `*_single.jsonl` that FastChat's show_result reads."""
    write_json_lines(path, map(_grade_row, judgments))


def _grade_row(one: Judgment) -> dict[str, Any]:
    if one.baseline is not None:
        raise DataError(f"question {one.question}: a comparison with {one.baseline}, not a single grade")
    return {
        "question_id": _number(one.question),
        "model": one.model,
        "judge": [one.judge, "single-v1" if one.turn == 1 else "single-v1-multi-turn"],
        "user_prompt": "",
        "judgment": one.text,
        "score": -1 if one.value is None else one.value,
        "turn": one.turn,
        "tstamp": time.time(),
    }


def read_verdicts(
    path: Path, *, model: str, baseline: str, categories: Mapping[str, str] | None = None
) -> list[Judgment]:
    """Verdicts of a `*_pair.jsonl` between two models, one for each order; `error` is unparsed.

    FastChat shows `model_1` first in game 1 and second in game 2, and names winners by the model in both.
    """
    found = []
    for line, row in read_json_lines(path):
        try:
            names = {"model_1": str(row["model_1"]), "model_2": str(row["model_2"])}
            if set(names.values()) != {model, baseline}:
                continue
            question = str(row["question_id"])
            for game in (1, 2):
                value = _won(str(row[f"g{game}_winner"]), names, model)
                found.append(
                    Judgment(
                        question=question,
                        category=(categories or {}).get(question, ""),
                        model=model,
                        baseline=baseline,
                        judge=str(row["judge"][0]),
                        value=value,
                        against=None if value is None else 1 - value,
                        turn=int(row["turn"]),
                        swapped=(names["model_1"] == baseline) is (game == 1),
                        text=str(row.get(f"g{game}_judgment", "")),
                    )
                )
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"{path}:{line}: {error!r}: not a line of FastChat's model_judgment") from None
    if not found:
        raise DataError(
            f"{path}: no judgment of {model} against {baseline}; look at model_1 and model_2 in it"
        )
    return found


def write_verdicts(path: Path, judgments: Iterable[Judgment]) -> None:
    """A `*_pair.jsonl` that FastChat's show_result reads, of the first sample; what was not judged in both
    orders, which it asks for, is left out."""
    games: dict[tuple[str, str, str, str, int], dict[bool, Judgment]] = {}
    for one in judgments:
        if one.baseline is not None and one.sample == 0:
            key = one.question, one.model, one.baseline, one.judge, one.turn
            games.setdefault(key, {})[one.swapped] = one
    both = (orders for orders in games.values() if len(orders) == 2)
    write_json_lines(path, (_verdict_row(orders[False], orders[True]) for orders in both))


def _verdict_row(first: Judgment, second: Judgment) -> dict[str, Any]:
    """Of the game that shows the model first, and the one that shows the baseline first."""
    return {
        "question_id": _number(first.question),
        "model_1": first.model,
        "model_2": first.baseline,
        "g1_winner": _winner(first),
        "g2_winner": _winner(second),
        "judge": [first.judge, "pair-v2" if first.turn == 1 else "pair-v2-multi-turn"],
        "g1_user_prompt": "",
        "g1_judgment": first.text,
        "g2_user_prompt": "",
        "g2_judgment": second.text,
        "turn": first.turn,
        "tstamp": time.time(),
    }


def _winner(one: Judgment) -> str:
    if one.value is None or one.against is None:
        return "error"
    return "tie" if one.value == one.against else "model_1" if one.value > one.against else "model_2"


def _won(winner: str, names: Mapping[str, str], model: str) -> float | None:
    if winner == "error":
        return None
    if winner == "tie":
        return 0.5
    return float(names[winner] == model)


def _number(question: str) -> Any:
    """FastChat's ids are numbers where they can be."""
    return int(question) if question.isdecimal() else question
