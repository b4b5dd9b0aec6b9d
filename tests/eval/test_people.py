"""People judge what the judge is unsure about: out as a CSV, back as verdicts, into the figures."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.errors import DataError
from ochat_ray.eval.formats import labels
from ochat_ray.eval.people import COLUMNS, GUARDED, read_from_people, with_people, write_for_people
from ochat_ray.eval.published.vicuna import qlora_reviews
from ochat_ray.eval.records import Answer, Judgment, Question
from ochat_ray.eval.statistics import pairs
from ochat_ray.eval.statistics.agreement import agreement

ABOUT = "m against b, by j"


def judged(*questions: str, turn: int = 1) -> list[pairs.Pair]:
    return pairs.pairs([Judgment(q, "c", "m", "b", "j", 1.0, 0.0, turn=turn) for q in questions])


class Sheet:
    """A CSV of questions as people see it."""

    def __init__(self, path: Path, ids: list[str], text: str = "ours") -> None:
        self.path, self.ids = path, ids
        questions = {q: Question(q, "c", (f"Question {q}?", "And then?")) for q in ids}
        own = {q: Answer(q, "m", (text, "ours, second")) for q in ids}
        base = {q: Answer(q, "b", ("theirs", "theirs, second")) for q in ids}
        self.given = (questions, own, base)

    def write(self, rows: list[pairs.Pair] | None = None, about: str = ABOUT) -> list[dict[str, str]]:
        write_for_people(self.path, judged(*self.ids) if rows is None else rows, *self.given, about)
        return self.rows()

    def rows(self) -> list[dict[str, str]]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def fill(self, winners: list[str], delimiter: str = ",", encoding: str = "utf-8-sig") -> Path:
        rows = [row | {"winner": said} for row, said in zip(self.rows(), winners, strict=True)]
        with self.path.open("w", encoding=encoding, newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
        return self.path


def test_what_people_prefer_comes_back_as_the_models_outcome(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "people.csv", [str(q) for q in range(40)])
    rows = sheet.write()
    assert list(rows[0]) == list(COLUMNS) and {row["winner"] for row in rows} == {""}
    firsts = [row["answer 1"] for row in rows]
    assert {*firsts} == {"ours", "theirs"} and 8 < firsts.count("ours") < 32
    for wanted, outcome in (("ours", 1.0), ("theirs", 0.0)):
        said = ["1" if first == wanted else " 2 " for first in firsts]
        assert read_from_people(sheet.fill(said), ABOUT) == {(q, 1): outcome for q in sheet.ids}
    assert read_from_people(sheet.fill(["Tie"] * 40), ABOUT) == {(q, 1): 0.5 for q in sheet.ids}
    assert read_from_people(sheet.fill(["", *["1"] * 39]), ABOUT).keys() == {(q, 1) for q in sheet.ids[1:]}


def test_the_order_is_that_of_who_is_compared_and_no_other_file_is_taken_for_it(tmp_path: Path) -> None:
    ids = [str(q) for q in range(20)]
    first, again, other = (
        Sheet(tmp_path / f"{name}.csv", ids).write(about=about)
        for name, about in (("a", "one"), ("b", "one"), ("c", "two"))
    )
    assert first == again != other
    sheet = Sheet(tmp_path / "a.csv", ids)
    with pytest.raises(DataError, match=r"row 2: key \d+: the file was not written for two"):
        read_from_people(sheet.fill(["1"] * 20), "two")


def test_later_turns_show_the_conversation(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "people.csv", ["7"])
    [row] = sheet.write(judged("7", turn=2))
    assert (row["turn"], row["question"]) == ("2", "Question 7?\n\nAnd then?")
    assert {row["answer 1"], row["answer 2"]} == {"ours\n\nours, second", "theirs\n\ntheirs, second"}
    assert read_from_people(sheet.fill(["tie"]), ABOUT) == {("7", 2): 0.5}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_of_all_countries_are_read(tmp_path: Path, delimiter: str) -> None:
    sheet = Sheet(tmp_path / "people.csv", ["1", "2"], text='Gr\u00fc\u00dfe; "quoted",\r\nnew line')
    sheet.write()
    sheet.fill(["tie", ""], delimiter, encoding="utf-8")
    assert read_from_people(sheet.path, ABOUT) == {("1", 1): 0.5}
    with sheet.path.open("a") as file:
        file.write("\r\n\r\n")
    assert read_from_people(sheet.path, ABOUT) == {("1", 1): 0.5}


@settings(deadline=None, max_examples=60)
@given(
    text=st.text(st.sampled_from([*GUARDED, "\uff1d", "a", "1", ",", '"', "\ud800"]), max_size=8),
    name=st.text(st.sampled_from("=+-@'a1"), min_size=1, max_size=4),
)
def test_no_cell_is_a_formula_and_ids_come_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    sheet = Sheet(tmp_path_factory.mktemp("sheet") / "people.csv", [name], text)
    [row] = sheet.write()
    assert not any(cell.startswith(GUARDED[:-1]) for cell in row.values())
    shown = text.replace("\ud800", "?")
    assert {row["answer 1"], row["answer 2"]} & {shown, "'" + shown}
    assert read_from_people(sheet.fill(["tie"]), ABOUT) == {(name, 1): 0.5}


def test_a_cell_is_no_longer_than_spreadsheets_hold(tmp_path: Path) -> None:
    [row] = Sheet(tmp_path / "people.csv", ["1"], "x" * 40_000).write()
    [long] = [cell for cell in row.values() if "x" in cell]
    assert len(long) < 32_767 and long.endswith("[cut: 8,000 characters more]")


def test_what_is_wrong_is_told_by_row_and_column(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "people.csv", ["1", "2"])
    sheet.write()
    with pytest.raises(DataError, match=r"people\.csv: is there already"):
        sheet.write()
    with pytest.raises(DataError, match=r"people\.csv: row 3: winner 'A': expected 1, 2 or tie"):
        read_from_people(sheet.fill(["1", "A"]), ABOUT)
    whole = sheet.fill(["1", "2"]).read_text(encoding="utf-8-sig")
    key = sheet.rows()[1]["key"]
    for text, said in (
        (whole.replace(key, "1.5E+09"), r"row 3: key '1\.5E\+09': expected the whole number"),
        (whole.replace(f"2,1,{key}", f"1,1,{key}"), r"row 3: id '1': its turn 1 is there twice"),
        (whole.replace("winner", "won"), r"row 1: no column 'winner'; keep the columns id, turn"),
        ("", r"row 1: no column 'id'"),
    ):
        sheet.path.write_text(text)
        with pytest.raises(DataError, match=said):
            read_from_people(sheet.path, ABOUT)
    sheet.path.write_bytes(b"id,turn\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        read_from_people(sheet.path, ABOUT)
    with pytest.raises(DataError, match="cannot be read"):
        read_from_people(tmp_path / "none.csv", ABOUT)


def test_a_question_without_text_or_answer_is_named_and_no_file_is_left(tmp_path: Path) -> None:
    questions, own, base = Sheet(tmp_path / "people.csv", ["1"]).given
    for parts, missing in ((({}, own, base), "text"), ((questions, {}, base), "answer")):
        with pytest.raises(DataError, match=f"question 1, turn 1: no {missing} to show"):
            write_for_people(tmp_path / "people.csv", judged("1"), *parts, ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_verdicts_replace_outcomes_and_nothing_else() -> None:
    rows = judged("1", "2", "3")
    found = with_people(rows, {("2", 1): 0.0})
    assert [row.outcome for row in found] == [1, 0, 1] and found[1]._replace(outcome=1.0) == rows[1]
    assert pairs.count(found) == pairs.Counts(2, 0, 1)
    with pytest.raises(DataError, match="people judged question 9, turn 1"):
        with_people(rows, {("9", 1): 0.0})


def test_people_raise_the_agreement_with_people(public: Path, tmp_path: Path) -> None:
    """FairEval's own: GPT-4 in both orders on 80 questions, a fifth of which its people judge."""
    people = labels.read_faireval(public / "faireval/human.txt")
    words = {"VICUNA13B": 1.0, "TIE": 0.5, "CHATGPT": 0.0}
    human = {str(number): words[label] for number, label in enumerate(people, 1)}
    rows = pairs.pairs(qlora_reviews(public, "vicuna-13b"))
    doubtful = pairs.for_people(rows)
    sheet = Sheet(tmp_path / "people.csv", [row.question for row in doubtful])
    filled = [
        "tie"
        if human[row["id"]] == 0.5
        else "1"
        if (human[row["id"]] == 1) == (row["answer 1"] == "ours")
        else "2"
        for row in sheet.write(doubtful)
    ]
    calibrated = with_people(rows, read_from_people(sheet.fill(filled), ABOUT))

    def agreed(found: list[pairs.Pair]) -> tuple[float, float]:
        said = {row.question: str(row.outcome) for row in found}
        one = agreement([str(label) for label in human.values()], [said[question] for question in human])
        return one.accuracy, one.kappa

    assert len(doubtful) == 16
    (before, kappa_before), (after, kappa_after) = agreed(rows), agreed(calibrated)
    assert before == 0.5625 and after > before + 0.05 and kappa_after > kappa_before + 0.1
