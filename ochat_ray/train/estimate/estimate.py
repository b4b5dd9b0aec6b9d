"""All figures of a run that is not started. Pure: settings, model and plan in, figures out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ochat_ray.config import TrainConfig
from ochat_ray.train.estimate.memory import Memory, checkpoint_bytes, find_memory, host_bytes
from ochat_ray.train.estimate.model import Model
from ochat_ray.train.estimate.remedies import Remedy, find_remedies
from ochat_ray.train.estimate.work import Work
from ochat_ray.train.gpus import GIB, Gpu
from ochat_ray.train.schedule import peak_rate

# Share of its peak that a well-fed GPU reaches. OpenChat v1 had 42 % on A100; torchtitan's Llama 3 8B has
# 30 to 35 % on H100, activation checkpointing included.
UTILISATION = 0.45
# Activation checkpointing computes the forward pass, a third of all, twice.
RECOMPUTED = 4 / 3


@dataclass(frozen=True)
class OnGpu:
    """A run on GPUs of one kind. `seconds`: of computing at `mfu` of the peak. `remedies`: where it does
    not fit."""

    gpu: Gpu
    fits: bool
    mfu: float
    seconds: float
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True)
class Estimate:
    """Bytes, tokens and operations of a run. `learning_rate`: its peak. `host`: bytes that a worker keeps
    in the memory of the host besides. `fewest`: bytes of a worker while there are only `min_workers`.
    `on`: kinds of GPU; none for a run on CPUs."""

    config: TrainConfig
    model: Model
    work: Work
    learning_rate: float
    trainable: int
    memory: Memory
    host: float
    fewest: float
    checkpoint: float
    on: tuple[OnGpu, ...]


def estimate(config: TrainConfig, model: Model, work: Work, gpus: Iterable[Gpu]) -> Estimate:
    """The figures of a run, and how it does on each of `gpus`."""
    memory = find_memory(config, model)
    mfu = UTILISATION / RECOMPUTED if config.activation_checkpointing else UTILISATION

    def on(gpu: Gpu) -> OnGpu:
        room = gpu.memory_gib * GIB
        fits = memory.total <= room
        seconds = work.slowest / (gpu.teraflops * 1e12 * mfu)
        remedies = () if fits else find_remedies(config, model, longest=work.longest, room=room)
        return OnGpu(gpu, fits, mfu, seconds, tuple(remedies))

    return Estimate(
        config=config,
        model=model,
        work=work,
        learning_rate=peak_rate(config, model.size.architecture, work.targets / work.steps),
        trainable=model.trainable(config),
        memory=memory,
        host=host_bytes(config, model),
        fewest=find_memory(config.replace(num_workers=config.min_workers or config.num_workers), model).total,
        checkpoint=checkpoint_bytes(config, model),
        on=tuple(on(gpu) for gpu in gpus),
    )
