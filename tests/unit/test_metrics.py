"""What Prometheus gets: the right totals at the node's own endpoint, and nothing where no cluster is."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from ochat_ray import metrics, sample
from ochat_ray.config import load_recipe
from ochat_ray.metrics import METRICS, Counter, Gauge, Histogram
from tests.exposed import eventually, grown, settle, totals
from tests.tokenizers import byte_level


@pytest.mark.usefixtures("ray_cluster")
def test_a_node_tells_how_many_documents_were_done_and_why_others_were_turned_away(tmp_path: Path) -> None:
    from ochat_ray.data.pipeline import prepare

    base = tmp_path / "base"
    base.mkdir()
    tokenizer = byte_level(["<s>", "</s>", "<|end_of_turn|>"], bos="<s>")
    (base / "tokenizer.json").write_text(json.dumps(tokenizer.spec))
    sample.write_pages(tmp_path / "pages")
    settle()
    stages, reasons = totals("stage"), totals("reason")
    recipe = load_recipe("openchat", ["data.rows_per_shard=60"])
    counts = prepare([tmp_path / "pages"], tmp_path / "out", recipe, [base])["counts"]
    assert counts["kept"] > 0 and len(counts["rejected"]) > 3
    through = dict.fromkeys(("clean", "deduplicate", "tokenise"), counts["documents"])
    eventually(lambda: grown("ray_ochat_data_documents_total", "stage", stages), through)
    assert grown("ray_ochat_data_rejects_total", "reason", reasons) == counts["rejected"]
    assert grown("ray_ochat_data_kept_conversations_total", "", stages) == {"": counts["kept"]}


@pytest.mark.usefixtures("ray_cluster")
def test_a_metric_costs_nothing_measurable() -> None:
    began = time.perf_counter()
    for _ in range(1000):
        metrics.documents("test", 1)
        metrics.answered("/test", "test", 0, 0.1, 0.01)
    assert (time.perf_counter() - began) / 1000 < 0.001


def test_nothing_is_counted_without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(metrics, "_made", lambda *_: pytest.fail("made"))
    metrics.documents("clean", 3)
    metrics.answered("/v1/models", "", 200, 0.1, 0.1)
    metrics.training("run", {"running": 1, "loss": 1.0})


def test_no_number_leaves_the_value_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gauge, "_ray", lambda *_: pytest.fail("set"))
    metrics.training("run", {"loss": float("nan"), "eval_loss": None})


def names() -> list[tuple[str, str]]:
    return [(metric.name, type(metric).__name__) for metric in METRICS]


def test_every_metric_is_listed() -> None:
    defined = [one for one in vars(metrics).values() if isinstance(one, Counter | Gauge | Histogram)]
    for several in (metrics.TRAIN_NOW, metrics.ENGINE_NOW, metrics.ENGINE_SO_FAR):
        defined += several.values()
    assert set(METRICS) == set(defined)
    assert len({name for name, _ in names()}) == len(METRICS)


@pytest.mark.parametrize(("name", "kind"), names())
def test_names_follow_prometheus(name: str, kind: str) -> None:
    assert re.fullmatch(r"ochat_[a-z]+(_[a-z]+)+|ochat_requests", name)
    assert not name.endswith(("_total", "_bucket", "_count", "_sum"))  # added by Ray and by Prometheus
    if kind == "Histogram":
        assert name.endswith("_seconds")


def test_engine_figures_are_those_of_its_statistics() -> None:
    from dataclasses import fields

    from ochat_ray.serve.engine.request import EngineStats

    told = {*metrics.ENGINE_NOW, *metrics.ENGINE_SO_FAR}
    assert told == {field.name for field in fields(EngineStats)}
