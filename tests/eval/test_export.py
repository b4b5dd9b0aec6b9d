"""An evaluation as files of others, which our readers read back; people's verdicts; judgments of others."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ochat_ray.cli import main
from ochat_ray.eval.formats import alpaca, fastchat
from ochat_ray.eval.records import Judgment, read_records
from ochat_ray.eval.report.page import read_report
from ochat_ray.eval.statistics.alpaca import win_rate
from ochat_ray.eval.statistics.grades import grade_figures
from ochat_ray.eval.statistics.pairs import pair_figures, rule_for
from tests.eval.scripted import Scripted, judge, model
from tests.listening import listening


def run(output: Path, say: Scripted, *words: str, names: tuple[str, ...] = ("org/mine", "theirs")) -> None:
    answering = Scripted(model(6.0))
    with listening(answering.api) as models, listening(say.api) as judges:
        ends = [{"name": name, "url": f"{models}/v1"} for name in names]
        judging = [{"name": "judge", "url": f"{judges}/v1"}]
        settings = [f"eval.models={json.dumps(ends)}", f"eval.judges={json.dumps(judging)}"]
        assert main(["eval", "run", str(output), *settings, *words]) == 0


def judgments(output: Path) -> list[Judgment]:
    return list(read_records(Judgment, output / "judgments.jsonl"))


@pytest.fixture
def verdicts(tmp_path: Path) -> Path:
    """An evaluation by verdicts in both orders, of a judge who likes the first shown two times of three."""
    output = tmp_path / "verdicts"
    say = Scripted(lambda body, _: f"[[{'AAC'[len(body['messages'][1]['content']) % 3]}]]")
    run(output, say, "eval.prompt=verdict", "eval.baseline=theirs")
    return output


def test_fastchat_reads_pairs_and_answers(verdicts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fastchat"
    assert main(["eval", "export", str(verdicts), str(folder), "--as", "fastchat"]) == 0
    answers = fastchat.read_answers(folder / "model_answer/org%2Fmine.jsonl")
    assert len(answers) == 16 and {len(one.turns) for one in answers} == {1, 2}
    back = fastchat.read_verdicts(
        folder / "model_judgment/judge_pair.jsonl", model="org/mine", baseline="theirs"
    )
    ours, theirs = pair_figures(judgments(verdicts), "agree"), pair_figures(back, "agree")
    assert (ours.counts, ours.conflict_rate) == (theirs.counts, theirs.conflict_rate)
    # And `eval report` makes the same report of them.
    file = folder / "model_judgment/judge_pair.jsonl"
    assert main(["eval", "report", str(tmp_path / "again"), f"eval.judgments=[{file}]"]) == 0
    [group] = read_report(tmp_path / "again").pairs
    assert group.win_rate.value == pytest.approx(ours.win_rate_adjusted.value)


def test_fastchat_reads_grades(tmp_path: Path) -> None:
    say = Scripted(lambda body, _: f"[[{len(body['messages'][1]['content']) % 10}]]")
    run(tmp_path / "out", say, "eval.prompt=grade", names=("m",))
    assert main(["eval", "export", str(tmp_path / "out"), str(tmp_path / "files"), "--as", "fastchat"]) == 0
    back = fastchat.read_grades(tmp_path / "files/model_judgment/judge_single.jsonl")
    ours, theirs = grade_figures(judgments(tmp_path / "out")), grade_figures(back)
    assert ours.average.value == theirs.average.value
    assert {turn: one.value for turn, one in ours.by_turn.items()} == {
        turn: one.value for turn, one in theirs.by_turn.items()
    }


def test_alpaca_eval_reads_annotations(tmp_path: Path) -> None:
    questions = [
        {"instruction": f"Say {n}.", "dataset": "d", "output": "x", "generator": "g"} for n in range(6)
    ]
    (tmp_path / "set.json").write_text(json.dumps(questions))
    run(
        tmp_path / "out",
        Scripted(judge(0.5, 1.0)),
        f"eval.questions={tmp_path / 'set.json'}",
        "eval.baseline=theirs",
    )
    assert (
        main(["eval", "export", str(tmp_path / "out"), str(tmp_path / "files"), "--as", "alpaca_eval"]) == 0
    )
    back = alpaca.read_annotations(tmp_path / "files/org%2Fmine/annotations.json")
    assert [one.question for one in back] == [str(n) for n in range(6)]
    shares = {
        one.question: [] for one in judgments(tmp_path / "out")
    }  # what each order says, a half of a win each
    for one in judgments(tmp_path / "out"):
        assert one.value is not None and one.against is not None
        shares[one.question].append((one.value > one.against) + (one.value == one.against) / 2)
    assert [one.value for one in back] == [sum(shares[str(n)]) / 2 for n in range(6)]
    assert win_rate(back).n_total == 6
    outputs = json.loads((tmp_path / "files/theirs/model_outputs.json").read_text())
    assert [row["instruction"] for row in outputs] == [f"Say {n}." for n in range(6)]


def test_what_alpaca_eval_does_not_know(
    verdicts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "export", str(verdicts), str(tmp_path / "x"), "--as", "alpaca_eval"]) == 2
    assert "questions of one turn only; export as fastchat" in capsys.readouterr().err
    assert main(["eval", "export", str(tmp_path / "none"), str(tmp_path / "x"), "--as", "fastchat"]) == 2
    assert "run `ochat-ray eval run" in capsys.readouterr().err


def filled(file: Path, winner: str) -> int:
    """Fill in the column as a spreadsheet would; returns the number of rows."""
    with file.open(encoding="utf-8-sig", newline="") as read:
        rows = list(csv.DictReader(read))
    with file.open("w", encoding="utf-8-sig", newline="") as write:
        writer = csv.DictWriter(write, rows[0])
        writer.writeheader()
        writer.writerows({**row, "winner": winner} for row in rows)
    return len(rows)


def test_people_judge_what_the_judge_doubts(
    verdicts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "people.csv"
    command = ["eval", "people", str(verdicts), str(file)]
    assert main(command) == 0
    assert "fill in `winner` with 1, 2 or tie" in capsys.readouterr().out
    assert main(command) == 2
    assert "nobody filled in `winner`" in capsys.readouterr().err
    number = filled(file, "tie")
    found = judgments(verdicts)
    assert 0 < number <= 5 and rule_for(found) == "agree"
    assert main(command) == 0
    out = capsys.readouterr().out
    assert f"of {number} questions that people judged they agree on 100 %" in out  # both say a tie
    assert main([*command, "--judge", "nobody"]) == 2
    assert "--judge nobody: there are judge" in capsys.readouterr().err


@pytest.fixture
def mt_bench(public: Path) -> Iterator[Path]:
    return public / "mt_bench"


def test_judgments_of_others_make_a_report(mt_bench: Path, tmp_path: Path) -> None:
    file, questions = mt_bench / "gpt-4_single.jsonl", mt_bench / "data/mt_bench/question.jsonl"
    words = [f"eval.judgments=[{file}]", f"eval.questions={questions}"]
    assert main(["eval", "report", str(tmp_path / "out"), *words]) == 0
    report = read_report(tmp_path / "out")
    best = max(report.grades, key=lambda one: one.average.value or 0)
    assert len(report.grades) == 3 and best.model == "mamba_0_5_dpo_ep1"
    assert best.average.value == pytest.approx(7.12, abs=0.005)
    assert {"coding", "math"} <= set(best.by_category)
