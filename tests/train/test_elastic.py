"""A run goes on with the workers that there are: one, then two, then one again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ochat_ray.config import Recipe
from ochat_ray.train import log
from tests.train.runs import attempts

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nodes_come_and_go(data: Path, base: Path, recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "out"
    long = recipe.replace(train=recipe.train.replace(min_workers=1, epochs=100))
    words = [str(data), str(base), str(output), long.model_dump_json()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.elastic", *words],
        cwd=ROOT,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (output / "model" / "ochat.json").exists(), done.stderr[-3000:]
    assert [start["workers"] for start in attempts(output)] == [1, 2, 1]
    steps = [entry["step"] for entry in log.read(output / "losses.jsonl") if "loss" in entry]
    assert steps == [*range(1, len(steps) + 1)]
