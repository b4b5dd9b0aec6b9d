"""DeepSpeed's ZeRO (Rajbhandari et al. 2020): optimizer state, gradients and weights sharded by stage."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from ochat_ray.config import TrainConfig
from ochat_ray.errors import ConfigError
from ochat_ray.train.batch import PackedBatch, pack_lists
from ochat_ray.train.model import (
    PackedModel,
    build,
    check_weights,
    layers,
    restore_buffers,
    widen_buffers,
)
from ochat_ray.train.strategies.base import MOMENTS, Strategy
from ochat_ray.train.strategies.settings import deepspeed_settings
from ochat_ray.train.together import together
from ochat_ray.train.weights import Weights


class Zero(Strategy):
    """Stage 1 shards the optimizer, 2 gradients too, 3 weights too; master weights are float32."""

    def __init__(
        self, config: TrainConfig, base: Path, device: torch.device, dtype: torch.dtype, *, accumulate: int
    ) -> None:
        self.device = device
        self.stage = int(config.strategy.removeprefix("zero"))
        with together():
            self.deepspeed = deepspeed = _import(device)
            settings = deepspeed_settings(config, self.stage, accumulate, half=dtype == torch.bfloat16)
            weights = Weights(base)
        with together():
            self.model = self._build(deepspeed, config, base, device, settings)
            check_weights(self.model, weights)
        self._read(weights)
        for layer in layers(self.model) if config.compile else ():
            layer.compile(dynamic=True)
        optimizer = torch.optim.AdamW(
            self.model.parameters(), betas=config.betas, eps=config.eps, weight_decay=config.weight_decay
        )
        self.engine, *_ = deepspeed.initialize(
            model=self.model, optimizer=optimizer, config=settings, dist_init_required=False
        )
        self.world_size = dist.get_world_size()
        if dtype != torch.float32:
            self._restore_masters(weights)

    def _build(
        self, deepspeed: Any, config: TrainConfig, base: Path, device: torch.device, settings: dict[str, Any]
    ) -> PackedModel:
        if self.stage == 3:  # each weight is cut up as soon as it is made
            with deepspeed.zero.Init(config_dict_or_path=settings):
                model = build(base, config)
            widen_buffers(model)  # it shortens them as it does weights; rotary frequencies must not be
            restore_buffers(model)
            return model
        with torch.device("meta"):
            model = build(base, config)
        model.to_empty(device=device)
        restore_buffers(model)
        return model

    def _fill(self, weight: torch.nn.Parameter, value: Callable[[], torch.Tensor]) -> None:
        """Give a weight that is computed with a value; with stage 3 the first worker's counts."""
        with torch.no_grad(), self.deepspeed.zero.GatheredParameters([weight], modifier_rank=0):
            if self.stage < 3 or dist.get_rank() == 0:
                weight.copy_(value())

    def _read(self, weights: Weights) -> None:
        for name, weight in self.named():
            self._fill(weight, partial(weights.read, name))

    def loss(self, batch: PackedBatch, divisor: float) -> torch.Tensor:
        loss: torch.Tensor = self.engine(batch, divisor)
        return loss

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        self.engine.set_gradient_accumulation_boundary(last)
        # It averages over workers.
        self.engine.backward(loss * self.world_size, scale_wrt_gas=False)
        if not last:
            self.engine.step()  # counts the backward pass, no more

    def step(self, rate: float, accept: Callable[[float], bool]) -> float:  # noqa: ARG002  (known too late)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    def state(self) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for index, (name, weight) in enumerate(self.trained()):
            parts = {f"weight.{name}": self.whole(weight)}
            for moment in MOMENTS:
                whole = self.deepspeed.utils.safe_get_full_optimizer_state(weight, moment)
                parts[f"{moment}.{name}"] = whole
            if index % self.world_size == dist.get_rank():
                found |= {key: value.cpu() for key, value in parts.items()}
        return found

    def load(self, folder: Path, updates: int) -> None:
        self._make_moments()
        for state in self.engine.optimizer.optimizer.state.values():
            state["step"].fill_(updates)
        for name, weight in self.trained():
            shape = getattr(weight, "ds_shape", weight.shape)
            parts = {f"{what}.{name}": torch.empty(shape) for what in ("weight", *MOMENTS)}
            dcp.load(parts, checkpoint_id=folder, no_dist=True)
            self._set_master(weight, parts[f"weight.{name}"], None)
            for moment in MOMENTS:
                self._set_master(weight, parts[f"{moment}.{name}"], moment)
            self._fill(weight, partial(parts.__getitem__, f"weight.{name}"))

    def whole(self, weight: torch.nn.Parameter) -> torch.Tensor:
        full: torch.Tensor = self.deepspeed.utils.safe_get_full_fp32_param(weight)
        return full

    def _restore_masters(self, weights: Weights) -> None:
        """Master weights as the files have them: DeepSpeed makes them of the shortened ones."""
        for name, weight in self.named():
            whole = weights.read(name)
            if whole.dtype == torch.float32:
                self._set_master(weight, whole, None)

    def _make_moments(self) -> None:
        """An update by nothing: DeepSpeed makes and links the optimizer's state only in the first one."""
        self.backward(self.loss(pack_lists([[0]], [[0.0]]).to(self.device), 1.0), last=True)
        self.step(0.0, lambda _: True)

    def _set_master(self, weight: torch.nn.Parameter, value: torch.Tensor, moment: str | None) -> None:
        """Take over this worker's part of the float32 weight, or of a moment of it."""
        utils = self.deepspeed.utils
        if self.stage < 3:
            if moment is None:
                utils.safe_set_full_fp32_param(weight, value)
            else:
                utils.safe_set_full_optimizer_state(weight, value, moment)
            return
        # The call for whole tensors fails where a weight's size is no multiple of the number of workers.
        own = torch.zeros_like(utils.safe_get_local_fp32_param(weight))
        part = value.flatten()[dist.get_rank() * len(own) :][: len(own)]
        own[: len(part)] = part.to(own)
        if moment is None:
            utils.safe_set_local_fp32_param(weight, own)
        else:
            utils.safe_set_local_optimizer_state(weight, own, moment)


def _import(device: torch.device) -> Any:
    if device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    try:
        import deepspeed
    except ImportError as error:
        raise ConfigError(
            "train.strategy needs DeepSpeed: "
            "DS_BUILD_OPS=0 pip install --no-build-isolation 'ochat-ray[deepspeed]'"
        ) from error
    # It would compile shared-memory collectives for over a minute, and hang for good after a kill meanwhile.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("nccl" if device.type == "cuda" else "gloo", auto_mpi_discovery=False)
    return deepspeed
