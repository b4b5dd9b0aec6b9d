"""Low-rank adapters by peft, inside the model that the loop trains as any other (Hu et al. 2021)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch

from ochat_ray.config import LoraConfig
from ochat_ray.errors import ConfigError, one_line
from ochat_ray.train.model import PackedModel, parameters
from ochat_ray.train.strategies.base import Strategy

ADAPTER = "default"
ADAPTED = ".base_layer.weight"


def add_adapters(model: PackedModel, config: LoraConfig, seed: int) -> dict[str, torch.Tensor]:
    """Freeze the model but for new adapters (and its embeddings, if so set); the adapters' first values.

    Without a rank the model is left as it is. The values depend on seed and name alone: A is drawn as peft
    draws it, B is zero. Raises ConfigError where peft is missing or no module has a name of `targets`.
    """
    if not config.rank:
        return {}
    try:
        from peft import inject_adapter_in_model
    except ImportError as error:
        raise ConfigError("train.lora needs peft: pip install 'ochat-ray[lora]'") from error
    try:
        inject_adapter_in_model(peft_config(config), model.hf, ADAPTER, low_cpu_mem_usage=True)
    except ValueError as error:
        raise ConfigError(f"train.lora.targets = {list(config.targets)}: {one_line(error)}") from error
    if config.train_embeddings:
        for layer in (model.hf.get_input_embeddings(), model.hf.get_output_embeddings()):
            layer.weight.requires_grad_(True)
    return {name: _first(name, weight.shape, seed) for name, weight in parameters(model) if "lora_" in name}


def source(name: str) -> str:
    """The name, in a model without adapters, of a weight that an adapter is beside."""
    return name.replace(".base_layer.", ".")


def merged_weights(strategy: Strategy, config: LoraConfig) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight of a model without adapters, float32: what adapters add is added. Every worker must
    take part."""
    weights = dict(strategy.named())
    for name, weight in weights.items():
        if "lora_" in name:
            continue
        whole = strategy.whole(weight)
        if name.endswith(ADAPTED):
            stem = name.removesuffix(ADAPTED)
            down = strategy.whole(weights[f"{stem}.lora_A.{ADAPTER}.weight"])
            up = strategy.whole(weights[f"{stem}.lora_B.{ADAPTER}.weight"])
            added = config.alpha / config.rank * (up @ down)
            # GPT-2's layers hold their weights the other way round.
            turned = strategy.model.hf.get_submodule(stem).fan_in_fan_out
            whole = whole + (added.T if turned else added)
        yield source(name), whole


def adapter_weights(strategy: Strategy) -> Iterator[tuple[str, torch.Tensor]]:
    """What was trained, float32, by the names that peft looks for. Every worker must take part."""
    for name, weight in strategy.trained():
        yield f"base_model.model.{name.replace(f'.{ADAPTER}.', '.')}", strategy.whole(weight)


def peft_config(config: LoraConfig) -> Any:
    """The settings as peft has them."""
    from peft import LoraConfig as PeftConfig

    targets = list(config.targets)
    return PeftConfig(
        task_type="CAUSAL_LM",
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
    )


def _first(name: str, shape: torch.Size, seed: int) -> torch.Tensor:
    if "lora_A" not in name:
        return torch.zeros(shape)
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") % 2**63)
    bound = shape[1] ** -0.5  # Kaiming's uniform with a = sqrt(5)
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)
