"""Labels: FairEval's majority of people, PandaLM's three annotators, and what PandaLM's judges said."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ochat_ray.errors import DataError
from ochat_ray.eval.formats.alpaca import read_rows

TIE = "0"
PANDALM = {"0", "1", "2"}  # a tie, the first, the second


class Annotated(NamedTuple):
    """Labels of three people, item by item."""

    annotators: tuple[list[str], list[str], list[str]]

    def majority(self) -> list[str]:
        """What at least two say; a tie where all three differ, as nobody wins then."""
        found = []
        for labels in zip(*self.annotators, strict=True):
            [(label, votes)] = Counter(labels).most_common(1)
            found.append(label if votes > 1 else TIE)
        return found


def read_faireval(path: Path) -> list[str]:
    """A label a line, in the order of the questions: the name of the winner in capitals, or TIE."""
    try:
        labels = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give the path of a text file") from error
    if not labels:
        raise DataError(f"{path}: no labels; expected one a line")
    return labels


def read_pandalm_people(path: Path) -> Annotated:
    """PandaLM's test set: `annotator1` to `annotator3`."""
    rows = read_rows(path)
    columns: list[list[str]] = []
    for name in ("annotator1", "annotator2", "annotator3"):
        labels = [str(row.get(name)) for row in rows]
        for index, label in enumerate(labels):
            if label not in PANDALM:
                raise DataError(f"{path}: entry {index}: {name} {label!r}: expected 0, 1 or 2")
        columns.append(labels)
    return Annotated((columns[0], columns[1], columns[2]))


def read_pandalm_judge(path: Path) -> list[str]:
    """What a judge of PandaLM's said: 1, 2, 0 for `Tie`; anything else stays as it is, and so is wrong."""
    said = [str(row.get("gpt_result")) for row in read_rows(path)]
    return [TIE if label == "Tie" else label for label in said]
