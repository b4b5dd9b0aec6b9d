"""Our figures beside those of the public package alpaca_eval, on the same annotations.

The package pins what this one does not use, so its interpreter is named by ALPACA_EVAL_PYTHON, e.g. the
`bin/python` of a virtual environment with alpaca_eval 0.6.6; nothing is fetched.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from ochat_ray.eval.formats import alpaca
from ochat_ray.eval.formats.length_control import read_gamed
from ochat_ray.eval.statistics.alpaca import win_rate
from ochat_ray.eval.statistics.length_control import Rows, length_controlled, refit, rows_of

VARIABLE = "ALPACA_EVAL_PYTHON"
COUNTS = ("win_rate", "standard_error", "n_wins", "n_wins_base", "n_draws", "n_total", "discrete_win_rate")
GAMED = ("model", "index", "preference", "std_delta_len", "instruction_difficulty", "not_gamed_baseline")
# Rows of gamed outputs come from a hub; here from a file. Weights are not saved beside the package.
THEIRS = """
import json, sys
import pandas as pd
from alpaca_eval import utils
from alpaca_eval.metrics import get_length_controlled_winrate
from alpaca_eval.metrics import glm_winrate
from alpaca_eval.completion_parsers import logprob_parser

glm_winrate.hf_hub_download = lambda **_: sys.argv[2]
rows = json.load(open(sys.argv[1]))
answer = {}
for name in ("length_controlled_v1", "length_controlled_minimal"):
    found = get_length_controlled_winrate(pd.DataFrame(rows), glm_name=name, save_weights_dir=None)
    answer[name] = {key: float(value) for key, value in found.items()}
answer["preferences"] = [
    logprob_parser(row["raw_completion"], "m", ["m", "M"], is_binarize=False)[0]
    if row.get("raw_completion")
    else None
    for row in rows
]
seeds = [f"is_switched_outputs{row['instruction']}0" for row in rows]
answer["switched"] = [bool(utils.random_seeded_choice(seed, [False, True])) for seed in seeds]
print("ANSWER" + json.dumps(answer))
"""


def theirs(annotations: Path, gamed: Path) -> dict[str, Any]:
    """What alpaca_eval makes of these files."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} names no interpreter with alpaca_eval")
    done = subprocess.run(
        [python, "-W", "ignore", "-c", THEIRS, annotations, gamed],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    found: dict[str, Any] = json.loads(line.removeprefix("ANSWER"))
    return found


def assert_same(annotations: Path, gamed: Path) -> None:
    """Counts to rounding, win rates of the regression to what a solver is sure of."""
    found = theirs(annotations, gamed)
    judgments = alpaca.read_annotations(annotations)
    ours = win_rate(judgments)
    for figure in COUNTS:
        assert getattr(ours, figure) == pytest.approx(found["length_controlled_v1"][figure], abs=1e-9), figure
    answers = alpaca.read_compared(annotations)
    differences = [
        len(answers.baseline[one.question].turns[0]) - len(answers.model[one.question].turns[0])
        for one in judgments
    ]
    shares = np.array([one.value for one in judgments], float)
    with gamed.open() as file:
        by_place = {int(row["index"]): float(row["instruction_difficulty"]) for row in csv.DictReader(file)}
    difficulty = np.array([by_place[int(one.question)] for one in judgments])
    full = rows_of(shares, np.array(differences, float), difficulty)
    known = length_controlled(refit(full, read_gamed(gamed)), difficulty)
    minimal = length_controlled(refit(Rows(shares, full.length_N, 0 * difficulty)), 0 * difficulty)
    for figure, other in (
        (known.win_rate, found["length_controlled_v1"]["length_controlled_winrate"]),
        (known.standard_error, found["length_controlled_v1"]["lc_standard_error"]),
        (minimal.win_rate, found["length_controlled_minimal"]["length_controlled_winrate"]),
    ):
        assert figure == pytest.approx(other, abs=1e-9)
    switched = [alpaca.is_switched(row["instruction"]) for row in alpaca.read_rows(annotations)]
    assert switched == found["switched"]
    for one in alpaca.read_completions(annotations):
        shown = 2 - found["preferences"][int(one.question)]  # of the output shown first
        share = one.against if one.swapped else one.value
        assert share == pytest.approx(
            shown, abs=2e-6
        )  # where ` m` is among the likeliest, it is an `m` to us


def made_up(folder: Path, questions: int, merit: float) -> tuple[Path, Path]:
    """Annotations and rows of gamed outputs as AlpacaEval 2 has them."""
    random = np.random.default_rng(questions)
    difficulty = random.normal(0, 1, questions)
    rows: list[dict[str, Any]] = []
    for index in range(questions):
        lengths = random.integers(100, 2000, 2)
        likely = random.normal(0, 3, 2)
        rows.append(
            {
                "instruction": f"Question {index}?",
                "output_1": "b" * lengths[0],
                "output_2": "m" * lengths[1],
                "generator_1": "base",
                "generator_2": "made-up",
                "annotator": "judge",
                "preference": 1 + float(expit(merit + difficulty[index] + random.normal(0, 2))),
                "raw_completion": {
                    "logprobs": {
                        "content": [
                            {
                                "top_logprobs": [
                                    {"token": token, "logprob": float(-abs(logprob))}
                                    for token, logprob in zip("mM", likely, strict=True)
                                ]
                            }
                        ]
                    }
                },
            }
        )
    rows[3]["preference"], rows[4]["preference"] = 1.5, 2.0
    annotations, gamed = folder / "annotations.json", folder / "df_gamed.csv"
    annotations.write_text(json.dumps(rows))
    with gamed.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(GAMED)
        for model, longer in (("concise", 1.0), ("verbose", -1.0)):
            for index in range(questions):
                share = expit(-longer + random.normal(0, 1))
                writer.writerow(
                    [model, index, share, longer + random.normal(0, 1), difficulty[index], "False"]
                )
    return annotations, gamed


@pytest.mark.parametrize(("questions", "merit"), [(60, 0.5), (200, -2.0), (400, 1.0)])
def test_figures_are_those_of_alpaca_eval(tmp_path: Path, questions: int, merit: float) -> None:
    assert_same(*made_up(tmp_path, questions, merit))


@pytest.mark.parametrize(
    "name",
    [
        "alpaca_eval_1/vicuna-13b",
        "alpaca_eval_2/vicuna-13b",
        "alpaca_eval_2/alpaca-7b",
        "alpaca_eval_2/FuseChat-Gemma-2-9B-Instruct",
    ],
)
def test_figures_of_public_judgments_are_those_of_alpaca_eval(public: Path, name: str) -> None:
    gamed = public / "alpaca_eval_meta/df_gamed_surrogate.csv"
    assert_same(public / name / "annotations.json", gamed)
