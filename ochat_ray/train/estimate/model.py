"""What an estimate needs to know of a base model. Reads its `config.json`, but no weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from ochat_ray.config import TrainConfig
from ochat_ray.errors import CheckpointError, ConfigError, one_line
from ochat_ray.train.estimate.activations import Activations, find_activations
from ochat_ray.train.flops import Size, skeleton


@dataclass(frozen=True)
class Model:
    """A base model on one kind of device.

    `adapter`: parameters that adapters of rank 1 add. `kept` and `recomputed`: activations without
    and with activation checkpointing. `bytes`: of one number in the forward and backward pass.
    """

    size: Size
    adapter: int
    kept: Activations
    recomputed: Activations
    bytes: int

    @classmethod
    def of(cls, base: Path, config: TrainConfig, *, gpu: bool) -> Self:
        """Raises CheckpointError for a folder of no such model, ConfigError for adapters of no layer."""
        hf = skeleton(base)
        half = config.dtype == "bfloat16" or (config.dtype == "auto" and gpu)
        dtype = torch.bfloat16 if half else torch.float32
        try:
            kept, recomputed = (
                find_activations(hf.config, dtype, checkpointing=checkpointing, gpu=gpu)
                for checkpointing in (False, True)
            )
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{base}: the memory of {type(hf).__name__} cannot be estimated "
                f"({one_line(error)}); train it without --dry-run"
            ) from error
        adapter = _adapter(hf, config.lora.targets)
        if not adapter and config.lora.rank:
            raise ConfigError(
                f"train.lora.targets = {', '.join(config.lora.targets)}: {type(hf).__name__} has no such "
                "linear layers; name some that it has, or all-linear"
            )
        return cls(Size.of_model(hf), adapter, kept, recomputed, dtype.itemsize)

    def trainable(self, config: TrainConfig) -> int:
        """Parameters that get gradients."""
        if not config.lora.rank:
            return self.size.parameters
        size = self.size
        tables = size.embedding + (0 if size.tied else size.head)
        return self.adapter * config.lora.rank + (tables if config.lora.train_embeddings else 0)


def _adapter(hf: Any, targets: tuple[str, ...]) -> int:
    head = hf.get_output_embeddings()
    return sum(
        module.in_features + module.out_features
        for name, module in hf.named_modules()
        if isinstance(module, nn.Linear)
        and module is not head
        and ("all-linear" in targets or any(name == t or name.endswith(f".{t}") for t in targets))
    )
