"""A model sharded over all workers with FSDP2: weights, gradients and optimizer state."""

from __future__ import annotations

import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from ochat_ray.train.model import PackedModel, layer_classes


def shard(model: PackedModel, device: torch.device, world_size: int, dtype: torch.dtype) -> PackedModel:
    """Shard in place: each layer by itself, then the rest.

    Weights and optimizer stay float32; `dtype` is that of the forward and backward pass. Gradients are
    summed over workers, not averaged: each worker's loss is already divided by the whole step's weight.
    They are exchanged after every bin: kept for the last one of a step, the gradient of the whole model
    would lie on every worker in float32.
    """
    mesh: DeviceMesh = init_device_mesh(device.type, (world_size,))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    classes = layer_classes(model.hf)
    for module in reversed([*model.modules()]):  # a layer inside a layer comes first
        if type(module).__name__ in classes:
            fully_shard(module, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # Without this, gloo is asked for a scaled reduction, which it does not have.
            module.set_force_sum_reduction_for_comms(True)
    for method in ("logits", "plain_logits"):
        register_fsdp_forward_method(model, method)
    # FSDP moves parameters to the device; buffers such as rotary frequencies are left to us.
    model.to(device)
    return model


def reshard(model: PackedModel) -> None:
    """Free what a forward pass without a backward pass left gathered.

    Until then the root's parameters are other tensors than those that the optimizer holds.
    """
    assert isinstance(model, FSDPModule)
    model.reshard()
