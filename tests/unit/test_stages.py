"""The record of a pipeline's stages, over several starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ochat_ray.stages import StageLog
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_a_stage_adds_up_over_its_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = StageLog(tmp_path)
    assert log.read() == {}
    with pytest.raises(RuntimeError), log.stage("data", {"settings": "a"}):
        raise RuntimeError
    first = log.read()["data"]
    assert first["outputs"] == {} and first["starts"] == 1
    with log.stage("data", {"settings": "b"}) as made:
        made["manifest"] = "c"
    (second,) = log.read().values()
    assert second["inputs"] == {"settings": "b"} and second["outputs"] == {"manifest": "c"}
    assert second["starts"] == 2
    assert second["seconds"] > first["seconds"] > 0
    assert 0 < second["node_hours"]["head"] <= second["seconds"] / 3600
    with pytest.raises(RuntimeError), log.stage("data", {"settings": "b"}):
        raise RuntimeError
    assert log.read()["data"]["outputs"] == {"manifest": "c"}
    with pytest.raises(RuntimeError), log.stage("data", {"settings": "d"}):
        raise RuntimeError
    assert log.read()["data"]["outputs"] == {}
    assert capsys.readouterr().out.count("data: ") == 4


def test_a_stage_that_fails_says_why_also_where_nothing_can_be_booked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("ochat_ray.stages.write_json", full)
    with pytest.raises(RuntimeError, match="the loss diverged"), StageLog(tmp_path).stage("train", {}):
        raise RuntimeError("the loss diverged")


def test_a_start_that_is_killed_was_booked_as_it_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ochat_ray.stages.BOOK_S", 0.0)
    log = StageLog(tmp_path)
    with log.stage("train", {"data": "a"}) as made:
        wait_for(lambda: log.read().get("train", {}).get("seconds", 0) > 1, what="booking", seconds=60)
        killed = log.read()["train"]  # what is there if nothing comes any more
        made["model"] = "b"
    assert killed["starts"] == 1 and killed["outputs"] == {} and killed["node_hours"]["head"] > 0
    assert log.read()["train"]["starts"] == 1
    assert log.read()["train"]["node_hours"]["head"] > killed["node_hours"]["head"]
