"""A DeepSpeed JSON of one's own is taken as it is, but for what the recipe decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.config import TrainConfig
from ochat_ray.errors import ConfigError
from ochat_ray.train.strategies.settings import deepspeed_settings


def settings_of(tmp_path: Path, own: Any, **config: Any) -> dict[str, Any]:
    file = tmp_path / "ds.json"
    file.write_text(own if isinstance(own, str) else json.dumps(own))
    train = TrainConfig(strategy="zero2", deepspeed=str(file), **config)
    return deepspeed_settings(train, 2, accumulate=4, half=True)


def test_what_is_left_open_is_the_recipes_and_the_rest_the_files(tmp_path: Path) -> None:
    own = {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_clipping": "auto",
        "optimizer": {"type": "auto", "params": {"lr": "auto"}},
        "fp16": {"enabled": False, "loss_scale": "auto"},
        "bf16": {"enabled": "auto"},
        "zero_optimization": {"stage": 2, "overlap_comm": True, "reduce_bucket_size": 5e8},
        "wall_clock_breakdown": True,
    }
    found = settings_of(tmp_path, own, max_grad_norm=0.5)
    assert found["train_micro_batch_size_per_gpu"] == 1 and found["gradient_accumulation_steps"] == 4
    assert found["gradient_clipping"] == 0.5 and found["bf16"] == {"enabled": True}
    assert found["zero_optimization"] == {"stage": 2, "overlap_comm": True, "reduce_bucket_size": 5e8}
    assert found["wall_clock_breakdown"] is True and not {"optimizer", "fp16"} & found.keys()


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (
            {"zero_optimization": {"stage": 3}},
            r"ds\.json: zero_optimization\.stage = 3, but the recipe makes it 2",
        ),
        (
            {"gradient_clipping": 2.0},
            r"gradient_clipping = 2\.0, but the recipe makes it 1\.0; set it in the recipe",
        ),
        ({"optimizer": {"type": "Lamb"}}, r"ds\.json: optimizer is not for DeepSpeed to decide here"),
        ({"fp16": {"enabled": True}}, r"fp16 is not for DeepSpeed"),
        ({"bf16": {"enabled": False}}, r"bf16\.enabled = False, but the recipe makes it True"),
        ({"prescale_gradients": True}, r"prescale_gradients is not for DeepSpeed"),
        ("{", r"ds\.json: cannot be read as JSON"),
        ("[]", r"ds\.json: expected an object"),
    ],
)
def test_what_contradicts_the_recipe_is_named(tmp_path: Path, own: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        settings_of(tmp_path, own)


def test_a_file_that_is_not_there() -> None:
    config = TrainConfig(strategy="zero1", deepspeed="/nowhere/ds.json")
    with pytest.raises(ConfigError, match=r"/nowhere/ds\.json: no such file"):
        deepspeed_settings(config, 1, accumulate=1, half=False)


def test_offload_by_stage() -> None:
    config = TrainConfig(strategy="zero3", cpu_offload=True)
    found = deepspeed_settings(config, 3, accumulate=1, half=False)["zero_optimization"]
    assert found["offload_optimizer"] == found["offload_param"] == {"device": "cpu"}
    assert "offload_param" not in deepspeed_settings(config, 2, accumulate=1, half=False)["zero_optimization"]
