"""Questions from a file, in any of the published formats; and the small set of our own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ochat_ray.errors import DataError
from ochat_ray.eval.formats.alpaca import read_rows
from ochat_ray.eval.records import Question
from ochat_ray.json_lines import read_json_lines

OWN = Path(__file__).parent / "questions.jsonl"


def read_questions(path: Path | None, limit: int | None = None) -> list[Question]:
    """The questions of a file in their order, the first `limit` of them; of our own set where there is none.

    Read are alpaca_eval's JSON list (`instruction`; the id is the place in the list, from 0), and JSON Lines:
    FastChat's (`question_id`, `turns`), Vicuna's (`question_id`, `text`), our own (`id`, `turns`). Raises
    DataError with file, line or entry, and field.
    """
    path = path or OWN
    if _is_list(path):
        found = [_alpaca(index, row, path) for index, row in enumerate(read_rows(path))]
    else:
        found = [_question(row, f"{path}:{line}") for line, row in read_json_lines(path)]
    ids: set[str] = set()
    for question in found:
        if question.id in ids:
            raise DataError(f"{path}: question {question.id} is there twice; every question needs its own id")
        ids.add(question.id)
    if not found:
        raise DataError(f"{path}: no question in it; expected a line, or an entry of a list, for each")
    return found[:limit]


def _is_list(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the path of a file") from error


def _alpaca(index: int, row: dict[str, Any], path: Path) -> Question:
    return Question(
        str(index), str(row.get("dataset", "")), (_text(row, "instruction", f"{path}: entry {index}"),)
    )


def _question(row: dict[str, Any], where: str) -> Question:
    if "answer_id" in row or "model_id" in row:
        raise DataError(f"{where}: an answer, not a question; give the file of questions, or eval.answers")
    turns = row.get("turns")
    if turns is None:
        turns = [_text(row, "text", where, "turns (a list of texts) or text")]
    return Question(
        id=_id(row, where),
        category=str(row.get("category", "")),
        turns=_texts(turns, "turns", where),
        reference=_texts(row.get("reference") or [], "reference", where, empty=True),
    )


def _id(row: dict[str, Any], where: str) -> str:
    found = row.get("id", row.get("question_id"))
    if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
        raise DataError(f"{where}: id {found!r}: expected a text or a whole number as id or question_id")
    return str(found)


def _text(row: dict[str, Any], name: str, where: str, expected: str = "") -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} {value!r}: expected {expected or 'a text'}")
    return value


def _texts(value: Any, name: str, where: str, *, empty: bool = False) -> tuple[str, ...]:
    texts: Sequence[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts) or not (texts or empty):
        raise DataError(f"{where}: {name} {value!r}: expected a list of texts")
    return tuple(texts)
