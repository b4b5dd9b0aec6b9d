"""Memory of one worker, part by part, for each strategy."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from ochat_ray.config import TrainConfig
from ochat_ray.train.estimate.model import Model
from ochat_ray.train.gpus import GIB
from ochat_ray.train.loss import CHUNK_ELEMENTS

FULL = 4  # bytes of a float32
# Logits, their log-softmax and its gradient are alive together, in float32.
LOGITS = 3 * FULL
# DeepSpeed's own: elements that are reduced or gathered at once, and that ZeRO-3 keeps gathered.
BUCKET, LIVE = 500_000_000, 1_000_000_000
# What CUDA and NCCL, or the interpreter and its libraries, take; and what no allocation can use.
RUNTIME, FRAGMENTED = 1.0 * GIB, 0.05


@dataclass(frozen=True)
class Memory:
    """Bytes of one worker on its device (GPU, or the host's memory where there is none).

    `gathered`: weights of the layers at work, whole and in the type they are computed in, and their
    gradients on the way to the other workers. `reserve`: the runtime and fragmentation.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    gathered: float
    reserve: float

    @property
    def total(self) -> float:
        """All parts."""
        return float(sum(astuple(self)))


@dataclass(frozen=True)
class State:
    """Bytes of one worker's share of what lasts from step to step."""

    weights: float
    gradients: float
    optimizer: float


def find_memory(config: TrainConfig, model: Model) -> Memory:
    """Of the largest pack, just before the first gradients are exchanged."""
    size = model.size
    used = model.recomputed if config.activation_checkpointing else model.kept
    activations = used.bytes(config.max_tokens, size.layers)
    logits = LOGITS * min(config.max_tokens * size.vocab_size, max(CHUNK_ELEMENTS, size.vocab_size))
    gathered = _gathered(config, model, activations + logits)
    held = _on_device(config, state(config, model))
    parts = (held.weights, held.gradients, held.optimizer, activations, logits, gathered)
    return Memory(*parts, reserve=RUNTIME + FRAGMENTED * sum(parts))


def host_bytes(config: TrainConfig, model: Model) -> float:
    """What `cpu_offload` keeps in the memory of the host for one worker."""
    own = state(config, model)
    held = _on_device(config, own)
    return own.weights + own.gradients + own.optimizer - held.weights - held.gradients - held.optimizer


def checkpoint_bytes(config: TrainConfig, model: Model) -> float:
    """What is trained and its two moments of Adam, float32: what a checkpoint holds."""
    return 3.0 * FULL * model.trainable(config)


def state(config: TrainConfig, model: Model) -> State:
    """16 bytes a parameter that is trained, divided among workers as the strategy does.

    FSDP2 divides all of it: weights and gradients in float32, two moments of Adam. DeepSpeed's copies
    for computing come on top of float32 weights that are part of its optimizer; ZeRO-1 divides only
    that, ZeRO-2 gradients as well, ZeRO-3 everything (Rajbhandari et al. 2020, arXiv:1910.02054).
    """
    workers, stage = config.num_workers, config.strategy
    parameters, trained = model.size.parameters, model.trainable(config)
    if stage == "fsdp2":
        weights = parameters + model.adapter * config.lora.rank
        return State(FULL * weights / workers, FULL * trained / workers, 2 * FULL * trained / workers)
    copies = model.bytes * parameters
    return State(
        weights=copies / workers if stage == "zero3" else copies,
        gradients=copies if stage == "zero1" else copies / workers,
        optimizer=3 * FULL * parameters / workers,
    )


def _on_device(config: TrainConfig, state: State) -> State:
    if not config.cpu_offload:
        return state
    stage = config.strategy
    return State(
        weights=state.weights if stage in ("zero1", "zero2") else 0.0,
        gradients=state.gradients if stage == "zero1" else 0.0,
        optimizer=0.0,
    )


def _gathered(config: TrainConfig, model: Model, activations: float) -> float:
    size, each = model.size, model.bytes
    if config.strategy in ("zero1", "zero2"):
        return 2 * each * min(BUCKET, size.parameters)  # one being reduced, one being gathered
    if config.strategy == "zero3":
        return each * (min(LIVE, size.parameters) + min(BUCKET, size.parameters))
    # Everything outside the layers stays gathered from the start of a pass to its end.
    root = size.parameters - size.layers * size.layer
    # In the backward pass: a layer and the next, the layer's gradient, its float32 copy on the way.
    layers = (3 * each + FULL) * size.layer + each * size.head
    # At the end of it activations are gone, but the root's gradient goes the same way.
    end = (each + FULL) * root - activations
    return each * root + max(layers, end)
