"""Which settings make a run fit that does not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ochat_ray.config import TrainConfig
from ochat_ray.train.estimate.memory import find_memory
from ochat_ray.train.estimate.model import Model

LORA_RANK = 16
MOST_SETTINGS = 3


@dataclass(frozen=True)
class Remedy:
    """Settings as one would write them, the bytes that a worker then takes, and what they cost."""

    settings: tuple[str, ...]
    bytes: float
    price: str


def find_remedies(config: TrainConfig, model: Model, *, longest: int, room: float) -> list[Remedy]:
    """Every single setting that makes a worker fit into `room` bytes, each changed no more than needed.

    Where none does, the first few that do together; empty where nothing does. Those come first that
    leave what is learnt the same, and of them the cheapest. `longest`: tokens of the longest conversation.
    """
    for count in range(1, MOST_SETTINGS + 1):
        found = []
        for chosen in itertools.combinations(OPTIONS, count):
            remedy = _first(config, model, longest, room, chosen)
            if remedy and count > 1:
                return [remedy]
            if remedy:
                found.append(remedy)
        if found:
            return found
    return []


Option = Callable[[TrainConfig, int], Iterator[TrainConfig]]


def _first(
    config: TrainConfig, model: Model, longest: int, room: float, options: tuple[tuple[Option, str], ...]
) -> Remedy | None:
    for candidate in _candidates(config, longest, [option for option, _ in options]):
        needed = find_memory(candidate, model).total
        if needed <= room:
            price = ", ".join(price for _, price in options)
            return Remedy(_changes(config.model_dump(), candidate.model_dump(), "train."), needed, price)
    return None


def _candidates(config: TrainConfig, longest: int, options: Sequence[Option]) -> Iterator[TrainConfig]:
    """Settings changed by all options, the least changes first."""
    if not options:
        yield config
        return
    for changed in options[0](config, longest):
        yield from _candidates(changed, longest, options[1:])


def _changes(before: dict[str, Any], after: dict[str, Any], prefix: str) -> tuple[str, ...]:
    changes: list[str] = []
    for name, value in after.items():
        if isinstance(value, dict):
            changes += _changes(before[name], value, f"{prefix}{name}.")
        elif value != before[name]:
            changes.append(f"{prefix}{name}={str(value).lower()}")
    return tuple(changes)


def _checkpointing(config: TrainConfig, _longest: int) -> Iterator[TrainConfig]:
    if not config.activation_checkpointing:
        yield config.replace(activation_checkpointing=True)


def _stage(config: TrainConfig, _longest: int) -> Iterator[TrainConfig]:
    stages = ["zero1", "zero2", "zero3"]
    if config.strategy in stages:
        for stage in stages[stages.index(config.strategy) + 1 :]:
            yield config.replace(strategy=stage)


def _workers(config: TrainConfig, _longest: int) -> Iterator[TrainConfig]:
    for workers in range(config.num_workers + 1, config.bins_per_step + 1):
        if config.bins_per_step % workers == 0:  # or some would wait in every step
            yield config.replace(num_workers=workers)


def _offload(config: TrainConfig, _longest: int) -> Iterator[TrainConfig]:
    if not config.cpu_offload:
        yield config.replace(cpu_offload=True)


def _smaller_bins(config: TrainConfig, longest: int) -> Iterator[TrainConfig]:
    least = math.ceil(longest / 64) * 64
    stride = max(64, config.max_tokens // 32 // 64 * 64)
    for max_tokens in range(config.max_tokens - stride, least - 1, -stride):
        yield config.replace(max_tokens=max_tokens)


def _lora(config: TrainConfig, _longest: int) -> Iterator[TrainConfig]:
    if not config.lora.rank and config.strategy == "fsdp2":
        yield config.replace(lora=config.lora.replace(rank=LORA_RANK).model_dump())


OPTIONS: tuple[tuple[Option, str], ...] = (
    (_checkpointing, "a third more to compute"),
    (_stage, "more to exchange"),
    (_workers, "more GPUs, less time"),
    (_offload, "slower steps, memory of the host"),
    (_smaller_bins, "smaller batches"),
    (_lora, "adapters in place of full fine-tuning"),
)
