"""What a forward and a backward pass hold in memory, found by running them on tensors without memory.

Tensors of the meta device have shapes, types and lifetimes, but no contents: a few layers of any model
run on them in a tenth of a second, and show what autograd keeps and what passes by. Everything grows
with the tokens of a pack and, but for a constant part, with the number of layers; nothing grows with
the square of anything, as attention is computed without a matrix of all pairs.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface, AutoModelForCausalLM

# So many that the gradients of weights, which are counted elsewhere, do not show.
TOKENS = 2**20
FEW, MORE = 2, 3
ON_GPU, ON_CPU = "ochat_estimate_gpu", "ochat_estimate_cpu"


@dataclass(frozen=True)
class Activations:
    """Most bytes alive at a time for each token of a pack: in all, and for each layer besides."""

    token: float
    layer: float

    def bytes(self, tokens: int, layers: int) -> float:
        """For a pack of so many tokens through so many layers."""
        return tokens * (self.token + layers * self.layer)


def find_activations(config: Any, dtype: torch.dtype, *, checkpointing: bool, gpu: bool) -> Activations:
    """Of a transformers config, without weights, gradients of weights, output head and loss."""
    AttentionInterface.register(ON_GPU, _attention_on_gpu)
    AttentionInterface.register(ON_CPU, _attention_on_cpu)
    few, more = (
        _peak(config, layers, dtype, checkpointing, ON_GPU if gpu else ON_CPU) / TOKENS
        for layers in (FEW, MORE)
    )
    layer = (more - few) / (MORE - FEW)
    return Activations(few - FEW * layer, layer)


def _peak(config: Any, layers: int, dtype: torch.dtype, checkpointing: bool, attention: str) -> int:
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    with torch.device("meta"):
        hf = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
        ids, positions = torch.zeros(2, 1, TOKENS, dtype=torch.int64)
    hf.train()
    for module in hf.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if checkpointing:
        # The meta device has no random numbers whose state could be kept.
        hf.activation_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    return peak_bytes(hf, {"input_ids": ids, "position_ids": positions, "use_cache": False})


def peak_bytes(hf: Any, inputs: dict[str, Any]) -> int:
    """Most bytes alive at a time while the hidden states and their gradients are computed.

    Weights and inputs are there before; each weight's gradient is let go as soon as it is made.
    """
    for parameter in hf.parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter: setattr(parameter, "grad", None))
    known = [*hf.parameters(), *hf.buffers(), *(x for x in inputs.values() if isinstance(x, torch.Tensor))]
    with Alive(known) as alive:
        hidden = hf.base_model(**inputs).last_hidden_state
        hidden.backward(torch.empty_like(hidden))
    return int(alive.peak)


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors that come and go within its block, but of none that are `known`."""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.bytes: int = 0
        self.peak: int = 0
        self.counted = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        if storage._cdata in self.counted:
            return
        self.counted.add(storage._cdata)
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())

    def _gone(self, address: int, size: int) -> None:
        self.counted.discard(address)
        self.bytes -= size


class _Attention(torch.autograd.Function):
    """Keeps what variable-length attention keeps: its inputs, its output and a float32 a head and token."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:2], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, _gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.empty_like(x) for x in ctx.saved_tensors[:3])


def _attention_on_gpu(
    _module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    # As `attention.packed_attention` calls the kernel.
    inputs = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
    return _Attention.apply(*inputs).unsqueeze(0), None


def _attention_on_cpu(
    _module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    inputs = (x[0].transpose(0, 1) for x in (query, key, value))
    # There the results of the conversations are put together, which copies them.
    return _Attention.apply(*inputs).clone().unsqueeze(0), None
