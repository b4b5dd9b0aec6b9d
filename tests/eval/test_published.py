"""Every published figure, from the raw judgments where they are, and from fixtures of ours elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ochat_ray.cli import main
from ochat_ray.errors import DataError
from ochat_ray.eval.published import compare, table


def test_every_published_figure_is_recomputed(public: Path) -> None:
    compared = compare(public)
    assert len(compared.rows) == 297
    assert [row for row in compared.rows if not row.agrees] == []
    sources = {row.source.split("/")[0] for row in compared.rows}
    expected = json.loads((public / "expected.json").read_text())
    assert sources == {name.split("/")[0] for name in expected}


def review(question: int, scores: object, first: str, second: str) -> str:
    row = {"question_id": question, "answer1_id": first, "answer2_id": second, "score": scores, "text": ""}
    return json.dumps(row) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two reviews as the Vicuna blog has them: 8 to 6, and a tie at 7."""
    file = tmp_path / "vicuna_blog/review/v/review_a_b.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(review(1, [6.0, 8.0], "a1", "b1") + review(2, [7.0, 7.0], "a2", "b2"))
    published = {"total_first": 13, "total_second": 15, "second_pct_of_first": 115.3846}
    published |= {"second_win": 1, "tie": 1, "second_loss": 0}
    expected = {"vicuna_blog/v/review_a_b.jsonl": published, "something/else": {}}
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    return tmp_path


def test_the_command_prints_figure_published_ours_difference(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "published", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "6 of 6 figures as published" in out and "not recomputed: something/else" in out
    [line] = [line for line in out.splitlines() if "second_pct" in line]
    assert line.split()[:4] == ["vicuna_blog/review_a_b", "second_pct_of_first", "115.385", "115.385"]


def test_a_figure_that_is_not_ours_is_told_and_fails(folder: Path) -> None:
    file = folder / "expected.json"
    file.write_text(file.read_text().replace('"tie": 1', '"tie": 2'))
    assert "beyond" in table(compare(folder)) and main(["eval", "published", str(folder)]) == 1


def test_a_folder_without_what_was_published_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected\.json.*give the folder"):
        compare(tmp_path)
