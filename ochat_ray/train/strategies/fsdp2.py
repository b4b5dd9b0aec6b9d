"""torch's FSDP2: weights, gradients and optimizer state sharded over all workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from ochat_ray.config import TrainConfig
from ochat_ray.train.batch import PackedBatch
from ochat_ray.train.lora import add_adapters, source
from ochat_ray.train.model import PackedModel, build, check_weights, layers, restore_buffers
from ochat_ray.train.strategies.base import MOMENTS, Strategy
from ochat_ray.train.together import together
from ochat_ray.train.weights import Weights


class Fsdp2(Strategy):
    """Weights and optimizer are float32; `dtype` is that of the forward and backward pass."""

    def __init__(self, config: TrainConfig, base: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.config = config
        with together():
            with torch.device("meta"):  # every worker only ever makes room for its own shards
                self.model = build(base, config)
            weights = Weights(base)
            check_weights(self.model, weights)
            adapters = add_adapters(self.model, config.lora, config.seed)
        _shard(self.model, config, device, dtype)
        self.model.to_empty(device="cpu" if config.cpu_offload else device)
        restore_buffers(self.model)
        if config.cpu_offload:  # FSDP moves weights, not buffers
            for module in self.model.modules():
                for name, buffer in module.named_buffers(recurse=False):
                    setattr(module, name, buffer.to(device))
        with torch.no_grad():
            for name, weight in self.named():
                own = weight.to_local()
                start, end = _rows(len(weight), len(own))
                made = adapters.get(name)
                own.copy_(weights.rows(source(name), start, end) if made is None else made[start:end])
        self.optimizer = torch.optim.AdamW(
            [weight for _, weight in self.trained()],
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def loss(self, batch: PackedBatch, divisor: float) -> torch.Tensor:
        loss: torch.Tensor = self.model(batch, divisor)
        return loss

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:  # noqa: ARG002
        # Gradients are exchanged each time: kept for the last, every worker would hold all of them.
        loss.backward()

    def step(self, rate: float, accept: Callable[[float], bool]) -> float:
        weights = [weight for _, weight in self.trained()]
        norm = float(torch.nn.utils.clip_grad_norm_(weights, self.config.max_grad_norm).full_tensor())
        if accept(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def state(self) -> dict[str, torch.Tensor]:
        found = {}
        for name, weight in self.trained():
            found[f"weight.{name}"] = weight.detach()
            moments = self._moments(weight)
            found |= {f"{moment}.{name}": moments[moment] for moment in MOMENTS}
        return found

    def load(self, folder: Path, updates: int) -> None:
        dcp.load(self.state(), checkpoint_id=folder)
        for _, weight in self.trained():
            self.optimizer.state[weight]["step"].fill_(updates)

    def whole(self, weight: torch.nn.Parameter) -> torch.Tensor:
        full: torch.Tensor = weight.detach().full_tensor()
        return full

    def evaluated(self) -> None:
        # Until then the root's weights are other tensors than those that the optimizer holds.
        assert isinstance(self.model, FSDPModule)
        self.model.reshard()

    def _moments(self, weight: torch.nn.Parameter) -> dict[str, torch.Tensor]:
        """AdamW's state of a weight; it makes it itself only in the first update."""
        state: dict[str, torch.Tensor] = self.optimizer.state[weight]
        if not state:
            state["step"] = torch.zeros((), device=weight.device)
            state |= {moment: torch.zeros_like(weight) for moment in MOMENTS}
        return state


def _shard(model: PackedModel, config: TrainConfig, device: torch.device, dtype: torch.dtype) -> None:
    """Each layer by itself, then the rest."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    offload = CPUOffloadPolicy(pin_memory=device.type == "cuda") if config.cpu_offload else OffloadPolicy()
    for layer in layers(model):
        if config.compile:  # with what is around it left as it is, packs of any shape share few graphs
            layer.compile(dynamic=True)
        fully_shard(layer, mesh=mesh, mp_policy=policy, offload_policy=offload)
    fully_shard(model, mesh=mesh, mp_policy=policy, offload_policy=offload)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # Without this, gloo is asked for a scaled reduction, which it does not have.
            module.set_force_sum_reduction_for_comms(True)
    for method in ("logits", "plain_logits", "conversation_losses"):
        register_fsdp_forward_method(model, method)


def _rows(rows: int, own: int) -> tuple[int, int]:
    """Which of a weight's rows this worker has: FSDP2 cuts them as torch.chunk does."""
    each = -(-rows // dist.get_world_size())
    start = min(dist.get_rank() * each, rows)
    return start, start + own
