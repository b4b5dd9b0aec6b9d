"""What evaluation speaks of: questions, answers and judgments, and their JSON Lines files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ochat_ray.errors import DataError
from ochat_ray.json_lines import read_json_lines, write_json_lines

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", "Question", "Answer", "Judgment")


@dataclass(frozen=True, slots=True)
class Question:
    """A question of one turn or several; `reference` answers them, turn by turn, where the benchmark does."""

    id: str
    category: str
    turns: tuple[str, ...]
    reference: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's replies to the turns of a question."""

    question: str
    model: str
    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judgment:
    """One reply of a judge about one answer, or about two in one order.

    `value` is what the model got and `against` what the baseline got, whatever the order they were shown in:
    scores 1 to 10; or 1, 0.5, 0 for a win, tie, loss (a share between where the judge's probabilities are
    used), `against` then being `1 - value`. A grade of a single answer has no baseline and no `against`.
    `value` is None where the reply could not be understood.
    """

    question: str
    category: str
    model: str
    baseline: str | None
    judge: str
    value: float | None
    against: float | None = None
    turn: int = 1
    swapped: bool = False
    """The baseline's answer was shown first."""
    sample: int = 0
    """Of several replies to the same request, counted from 0."""
    text: str = ""


def read_records(kind: type[R], path: Path) -> Iterator[R]:
    """The records of a JSON Lines file. Raises DataError with file, line and field."""
    names = {field.name for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    for line, row in read_json_lines(path):
        if missing := needed - row.keys():
            fault = f"no {kind.__name__.lower()}: it has no {', '.join(sorted(missing))}"
            raise DataError(
                f"{path}:{line}: {fault}; expected a line of an evaluation, or a file of FastChat, Vicuna or "
                "alpaca_eval"
            )
        yield kind(**{name: _tuples(value) for name, value in row.items() if name in names})


def write_records(path: Path, records: Iterable[DataclassInstance]) -> None:
    """Write records as JSON Lines; the file appears whole."""
    write_json_lines(path, map(asdict, records))


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
