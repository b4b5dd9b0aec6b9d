"""Published figures are those that were published."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ochat_ray.errors import DataError
from ochat_ray.eval.report.reference import published


@pytest.mark.parametrize(
    ("name", "file", "columns"),
    [
        ("alpaca_eval_1", "leaderboard_AE1.csv", ("win_rate", "standard_error")),
        ("alpaca_eval_2", "leaderboard_AE2.csv", ("win_rate", "length_controlled_winrate")),
    ],
)
def test_figures_are_those_of_the_leaderboards(
    public: Path, name: str, file: str, columns: tuple[str, ...]
) -> None:
    [table] = published([name])
    with (public / "alpaca_eval_meta" / file).open(newline="") as lines:
        rows = {row[""]: row for row in csv.DictReader(lines)}
    checked = [model for model in table.rows if model in rows]
    assert len(checked) >= 3
    for model in checked:
        for column, figure in zip(columns, table.rows[model], strict=True):
            assert figure == pytest.approx(float(rows[model][column]), abs=5e-5), (model, column)


def test_vicuna_bench_is_what_openchat_published() -> None:
    [table] = published(["vicuna_bench"])
    assert list(table.rows.values()) == [(106.6,), (105.7,), (102.5,), (92.4,), (89.5,), (65.7,), (51.0,)]


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(DataError, match="'mmlu'; choose from alpaca_eval_1, alpaca_eval_2, vicuna_bench"):
        published(["mmlu"])
