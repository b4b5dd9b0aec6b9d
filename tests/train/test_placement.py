"""What a run asks of the cluster: told while it waits, refused where it can never come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util import placement_group, remove_placement_group

from ochat_ray import runtime
from ochat_ray.config import Recipe
from ochat_ray.errors import ConfigError
from ochat_ray.train.placement import find_need, waiting
from ochat_ray.train.run import train
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"use_gpu": True}, r"2 workers of 1 CPU, 1 GPU, but this cluster has . CPU, 0 GPU .*use_gpu=false"),
        ({"pool": "ours"}, r"2 workers of 1 CPU, 0\.001 ours, .*leave out train\.pool"),
        ({"threads": 500}, r"2 workers of 500 CPU, .*train\.num_workers or lower train\.threads"),
    ],
)
def test_a_private_cluster_that_is_too_small_is_refused_at_once(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected) as raised:
        train(data, base, tmp_path / "out", recipe.replace(train=recipe.train.replace(**changes)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("gpus", "use_gpu"), [(0, False), (1, False), (2, True)])
def test_auto_takes_gpus_only_if_there_is_one_for_each_worker(
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpus: int,
    use_gpu: bool,
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": float(gpus)})
    assert find_need(recipe.train.replace(use_gpu="auto")).gpu == use_gpu
    assert ("on CPUs, because the cluster has 1 GPU for 2 workers" in capsys.readouterr().err) == (gpus == 1)


def test_a_cluster_that_may_grow_is_waited_for_and_that_is_told(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "fixed", lambda: False)
    need = find_need(recipe.train.replace(use_gpu=True))
    assert waiting(need) is None
    group = placement_group([need.each] * need.workers)
    try:
        line = wait_for(lambda: waiting(need), what="line")
    finally:
        remove_placement_group(group)
    assert line is not None and line.startswith("waiting for 2 workers of 1 CPU, 1 GPU; the cluster has ")
    assert "0 GPU free of" in line
