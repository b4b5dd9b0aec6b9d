"""Human in the loop calibration (Wang et al. 2023, FairEval): people judge what the judge is unsure about.

The questions go out as a CSV that any spreadsheet opens, with the two answers in an order that tells nobody
which is whose; the column `winner` comes back filled.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from ochat_ray.errors import DataError
from ochat_ray.eval.records import Answer, Question
from ochat_ray.eval.statistics.pairs import Pair
from ochat_ray.storage import writing

COLUMNS = ("id", "turn", "key", "question", "answer 1", "answer 2", "winner")
WINNERS = {"1": 1.0, "2": 0.0, "tie": 0.5}  # for the answer shown first
# What makes a spreadsheet take a text for a formula, in full width too (OWASP, CSV injection), and the
# apostrophe that keeps it from doing so.
GUARD = "'"
GUARDED = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20", GUARD)
CELL = 32_000  # characters; Excel spills what is over 32,767 into other cells

Verdicts = dict[tuple[str, int], float]
"""What people said, by question and turn: 1 win, 0.5 tie, 0 loss of the model."""


def write_for_people(
    path: Path,
    rows: Sequence[Pair],
    questions: Mapping[str, Question],
    answers: Mapping[str, Answer],
    baseline_answers: Mapping[str, Answer],
    about: str,
) -> None:
    """Write these rows, usually those that `pairs.for_people` picks, for people to fill in `winner`: 1, 2
    or tie.

    Everything is by question; `about` says who is compared by whom, and tells files apart. An odd `key` says
    that answer 1 is the model's, so that a file needs nothing else to be read. Raises DataError where there
    is such a file, which somebody may have filled, and naming the question without text or answer.
    """
    if path.exists():
        raise DataError(f"{path}: is there already, maybe filled; give another path, or remove it")
    with writing(path) as aside, aside.open("w", encoding="utf-8-sig", newline="", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            own, other = (_shown(row, "answer", given) for given in (answers, baseline_answers))
            key = _key(about, row.question, row.turn)
            first, second = (own, other) if key % 2 else (other, own)
            cells = (row.question, str(row.turn), str(key), _shown(row, "text", questions), first, second, "")
            writer.writerow(map(_guarded, cells))


def read_from_people(path: Path, about: str) -> Verdicts:
    """What people filled in; rows whose `winner` they left empty are not in it.

    Raises DataError with file, row as the spreadsheet counts them, column, value and what is expected.
    """
    found: Verdicts = {}
    for place, row in enumerate(_read_rows(path), 2):
        where = f"{path}: row {place}"
        said = row["winner"].strip().lower()
        if not said:
            continue
        if said not in WINNERS:
            raise DataError(f"{where}: winner {row['winner']!r}: expected 1, 2 or tie, or nothing")
        turn, key = (_whole(row, name, where) for name in ("turn", "key"))
        question = row["id"].removeprefix(GUARD)
        if (question, turn) in found:
            raise DataError(f"{where}: id {question!r}: its turn {turn} is there twice; keep one row")
        if key != _key(about, question, turn):
            raise DataError(
                f"{where}: key {key}: the file was not written for {about}; give the one that was"
            )
        found[question, turn] = WINNERS[said] if key % 2 else 1 - WINNERS[said]
    return found


def _key(about: str, question: str, turn: int) -> int:
    """Odd where answer 1 is the model's."""
    return random.Random(f"{about} {question} {turn}").getrandbits(31)


def with_people(rows: Sequence[Pair], verdicts: Verdicts) -> list[Pair]:
    """The rows with the outcome that people gave, where they did; scores and orders stay the judge's.

    Raises DataError naming what people judged and the judge did not.
    """
    known = {(row.question, row.turn) for row in rows}
    if unknown := [about for about in verdicts if about not in known]:
        question, turn = unknown[0]
        raise DataError(
            f"people judged question {question}, turn {turn}, of which there is no judgment; give the file "
            "that was written for this model and baseline, with its column id as it was"
        )
    return [row._replace(outcome=verdicts.get((row.question, row.turn), row.outcome)) for row in rows]


def _shown(row: Pair, what: str, given: Mapping[str, Question] | Mapping[str, Answer]) -> str:
    """All turns up to this one."""
    one = given.get(row.question)
    if one is None or len(one.turns) < row.turn:
        raise DataError(
            f"question {row.question}, turn {row.turn}: no {what} to show to people; give the questions and "
            "answers that were judged"
        )
    return "\n\n".join(one.turns[: row.turn])


def _guarded(text: str) -> str:
    if len(text) > CELL:
        text = f"{text[:CELL]} [cut: {len(text) - CELL:,} characters more]"
    return GUARD + text if text.startswith(GUARDED) else text


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the path of a CSV file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save it as CSV with UTF-8") from error
    # Spreadsheets separate by what their country does.
    between = text[: text.find(COLUMNS[1])]
    separator = next((mark for mark in (";", "\t") if mark in between), ",")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error}); save the spreadsheet as CSV") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if missing := [name for name in COLUMNS if name not in header]:
        raise DataError(f"{path}: row 1: no column {missing[0]!r}; keep the columns {', '.join(COLUMNS)}")
    empty = [""] * len(header)
    return [dict(zip(header, row + empty[len(row) :], strict=False)) for row in rows[1:]]


def _whole(row: Mapping[str, str], name: str, where: str) -> int:
    try:
        return int(row[name])
    except ValueError:
        raise DataError(
            f"{where}: {name} {row[name]!r}: expected the whole number that was written there"
        ) from None
