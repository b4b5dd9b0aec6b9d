"""What Prometheus gets of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ochat_ray import metrics
from ochat_ray.config import Recipe
from ochat_ray.errors import OchatError
from ochat_ray.train import run as run_module
from ochat_ray.train.folders import Folders
from ochat_ray.train.run import TrainResult
from ochat_ray.train.watch.prometheus import Prometheus
from ochat_ray.train.watch.steps import News
from tests.exposed import eventually, totals

pytestmark = pytest.mark.usefixtures("ray_cluster")


def told(run: str) -> dict[str, float]:
    """The metrics of a run at the node's endpoint."""
    start = "ray_ochat_train_"
    return {name.removeprefix(start): value for (name, one), value in totals("run").items() if one == run}


def test_a_whole_run_comes_to_its_steps_and_tokens(finished: TrainResult) -> None:
    run = str(finished.model.parent)
    eventually(lambda: told(run).get("tokens_total"), finished.tokens)
    assert told(run)["steps_total"] == finished.steps
    assert told(run)["starts_total"] == 1
    assert not {"failures_total", "left_out_steps_total"} & told(run).keys()


def test_what_this_command_does_is_told_and_not_what_earlier_ones_did(tmp_path: Path) -> None:
    run = str(tmp_path)

    def step(number: int, **more: object) -> dict[str, object]:
        return {"step": number, "tokens": 100, "learning_rate": 1e-4, "loss": 9.0 - number, **more}

    def news(starts: list[int], whole: list[dict[str, object]]) -> News:
        return News([{"step": one, "workers": 2} for one in starts], [], None, whole, None)

    watch = Prometheus(Folders(tmp_path))
    watch.see(news([0], [step(1), step(2)]))  # of an earlier command
    watch.see(news([2], [step(2)]))
    watch.see(news([], [step(3, tokens_per_s=50.0, packing=0.9), step(4, eval_loss=7.0)]))
    watch.see(news([3], [{"step": 4, "tokens": 100, "skipped": "loss nan", "samples": []}, step(5)]))

    wanted = {
        "running": 1.0,
        "workers": 2.0,
        "starts_total": 2.0,
        "steps_total": 4.0,
        "tokens_total": 400.0,
        "left_out_steps_total": 1.0,
        "loss": 4.0,
        "eval_loss": 7.0,
        "learning_rate": 1e-4,
        "tokens_per_second": 50.0,
        "packed_ratio": 0.9,
    }

    eventually(lambda: told(run), wanted)
    watch.close()
    eventually(lambda: told(run)["running"], 0.0)


def test_gauges_are_set_anew_though_nothing_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(metrics, "training", lambda _, now: seen.append(dict(now)))
    watch = Prometheus(Folders(tmp_path))
    nothing = News([], [], None, [], None)
    watch.see(nothing)
    watch.see(News([{"step": 0, "workers": 4}], [], None, [{"step": 1, "tokens": 5, "loss": 2.5}], None))
    watch.see(nothing)
    assert seen[0] == {"running": 1}
    assert seen[1] == seen[2]
    assert {"running": 1, "workers": 4, "loss": 2.5}.items() <= seen[2].items()


def test_a_run_that_ends_in_an_error_is_counted(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OchatError("step 7: loss nan")

    for name in ("make_inputs", "find_need", "input_files"):
        monkeypatch.setattr(run_module, name, lambda *_: None)
    monkeypatch.setattr(run_module.Plan, "load", lambda *_: None)
    monkeypatch.setattr(run_module.Tokens, "load", lambda *_: None)
    monkeypatch.setattr(run_module, "_fit", fails)
    nothing: Any = None
    with pytest.raises(OchatError, match="nan"):
        run_module._run(nothing, tmp_path, Folders(tmp_path), recipe)
    eventually(lambda: told(str(tmp_path)), {"failures_total": 1.0})
