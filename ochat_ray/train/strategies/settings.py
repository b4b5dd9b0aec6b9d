"""DeepSpeed's settings: the recipe's, and a file of the user's own beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ochat_ray.config import TrainConfig
from ochat_ray.errors import ConfigError

# What the loop does itself. For what the recipe decides, a file may say "auto", or the same.
REFUSED = (
    "optimizer",
    "scheduler",
    "train_batch_size",
    "fp16",
    "amp",
    "prescale_gradients",
    "gradient_predivide_factor",
)
REMEDY = 'set it in the recipe and take it out of the file, or write "auto" there'


def deepspeed_settings(config: TrainConfig, stage: int, accumulate: int, *, half: bool) -> dict[str, Any]:
    """What `deepspeed.initialize` takes. Raises ConfigError where the file says otherwise than the recipe."""
    ours: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": accumulate,
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    ours["bf16"] = {"enabled": half}
    if half:  # sums in float32, as FSDP2 has them
        ours |= {"data_types": {"grad_accum_dtype": "fp32"}, "communication_data_type": "fp32"}
    if config.cpu_offload:
        ours["zero_optimization"]["offload_optimizer"] = {"device": "cpu"}
        if stage == 3:
            ours["zero_optimization"]["offload_param"] = {"device": "cpu"}
    if config.deepspeed is None:
        return ours
    path = Path(config.deepspeed)
    return _merge(ours, own_settings(path), "", path)


def own_settings(path: Path) -> dict[str, Any]:
    """A DeepSpeed JSON, without what it leaves to others. Raises ConfigError where it decides too much."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"train.deepspeed = {path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"train.deepspeed = {path}: cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"train.deepspeed = {path}: expected an object of settings")
    settings = _decided(found)
    if settings.get("fp16") == {"enabled": False}:
        del settings["fp16"]
    for key in REFUSED:
        if settings.get(key):
            raise ConfigError(f"{path}: {key} is not for DeepSpeed to decide here; {REMEDY}")
    return settings


def _decided(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that say "auto", at any depth, and without groups of nothing else."""
    found = {key: _decided(value) if isinstance(value, dict) else value for key, value in settings.items()}
    return {key: value for key, value in found.items() if value != "auto" and value != {}}


def _merge(ours: dict[str, Any], theirs: dict[str, Any], below: str, path: Path) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in theirs.items():
        name = f"{below}{key}"
        if isinstance(value, dict) and isinstance(ours.get(key), dict):
            merged[key] = _merge(ours[key], value, f"{name}.", path)
        elif key in ours and value != ours[key]:
            raise ConfigError(f"{path}: {name} = {value!r}, but the recipe makes it {ours[key]!r}; {REMEDY}")
        else:
            merged[key] = value
    return merged
