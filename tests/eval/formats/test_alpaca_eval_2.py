"""AlpacaEval 2's files: raw completions, the outputs that were compared, the CSVs of its regression."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.errors import DataError
from ochat_ray.eval.formats import alpaca
from ochat_ray.eval.formats.length_control import TERMS, read_difficulty, read_gamed, read_weights
from ochat_ray.eval.statistics.length_control import Weights

# Drawn by alpaca_eval 0.6.6 itself.
DRAWN = {"Name a river.": True, "Write a poem.": False}


def completion(**logprobs: float) -> dict[str, Any]:
    top = [{"token": token, "logprob": logprob} for token, logprob in logprobs.items()]
    return {"logprobs": {"content": [{"token": top[0]["token"], "top_logprobs": top}]}}


def annotations(path: Path, *raw: Any) -> Path:
    """Rows of both instructions in turn, each with its raw completion."""
    rows = [
        {
            "instruction": list(DRAWN)[index % 2],
            "output_1": "base " * (index + 1),
            "output_2": "ours",
            "generator_1": "b",
            "generator_2": "m",
            "annotator": "j",
            "raw_completion": one,
        }
        for index, one in enumerate(raw)
    ]
    path.write_text(json.dumps(rows))
    return path


def test_the_order_of_the_outputs_is_drawn_by_the_instruction() -> None:
    assert {instruction: alpaca.is_switched(instruction) for instruction in DRAWN} == DRAWN


def test_shares_are_those_of_the_two_letters_and_turned_where_the_model_was_first(tmp_path: Path) -> None:
    raw = completion(m=math.log(0.6), M=math.log(0.2), Both=math.log(0.2))
    file = annotations(tmp_path / "a.json", raw, raw, completion(M=-0.1), None, completion(The=-0.1))
    found = alpaca.read_completions(file)
    assert [one.question for one in found] == ["0", "1", "2", "4"]  # entry 3 has none
    assert [one.swapped for one in found] == [False, True, False, False]  # switched: the model's is first
    assert [one.value for one in found[:3]] == pytest.approx([0.75, 0.25, 0.0])
    assert [one.against for one in found[:3]] == pytest.approx([0.25, 0.75, 1.0])
    assert found[3].value is None and found[3].against is None
    assert (found[0].model, found[0].baseline, found[0].judge) == ("m", "b", "j")


@pytest.mark.parametrize("wrong", [{"logprobs": None}, {"logprobs": {"content": []}}, "m", [1]])
def test_a_completion_without_log_probabilities_is_told_by_entry(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(DataError, match=r"a\.json: entry 1: raw_completion .*expected logprobs"):
        alpaca.read_completions(annotations(tmp_path / "a.json", completion(m=-0.1), wrong))


def test_the_outputs_that_were_compared(tmp_path: Path) -> None:
    found = alpaca.read_compared(annotations(tmp_path / "a.json", None, None))
    assert found.baseline["1"].turns == ("base base ",) and found.baseline["1"].model == "b"
    assert found.model["0"].turns == ("ours",) and list(found.model) == ["0", "1"]
    (tmp_path / "a.json").write_text(json.dumps([{"output_1": "x", "output_2": None}]))
    with pytest.raises(DataError, match=r"entry 0: output_2 None: expected a text"):
        alpaca.read_compared(tmp_path / "a.json")


def test_the_csv_files_of_the_regression(tmp_path: Path) -> None:
    file = tmp_path / "w.csv"
    file.write_text(f",{','.join(TERMS)}\nm,-1.5,0.5,2\n")
    assert read_weights(file) == {"m": Weights(-1.5, 0.5, 2)}
    file.write_text("index,instruction_difficulty\n0,0.25\n1,-1\n")
    assert read_difficulty(file).tolist() == [0.25, -1]
    gamed = "model,index,preference,std_delta_len,instruction_difficulty,not_gamed_baseline\n"
    file.write_text(gamed + "concise,0,0.125,2.5,-1,False\nverbose,0,0.5,-2,-1,False\n")
    found = read_gamed(file)
    assert [column.tolist() for column in found] == [[0.125, 0.5], [2.5, -2], [-1, -1]]
    file.write_text(gamed + "concise,0,,2.5,-1,False\n")
    with pytest.raises(DataError, match=r"w\.csv:2: preference '': expected a number"):
        read_gamed(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_gamed(tmp_path / "none.csv")
