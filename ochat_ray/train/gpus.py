"""GPUs by name: what they compute at best, and how much they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ochat_ray.config import TrainConfig
from ochat_ray.errors import ConfigError

GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """A model of GPU.

    `teraflops`: dense bfloat16 matrix products with float32 sums, 1e12 FLOP/s, by the maker's data sheet.
    `memory_gib`: what the driver reports in all, GiB; less than the name says. `words`: those which a
    device name must hold, in lower case.
    """

    name: str
    teraflops: float
    memory_gib: float
    words: frozenset[str]


def _gpu(name: str, teraflops: float, memory_gib: float, words: str) -> Gpu:
    return Gpu(name, teraflops, memory_gib, frozenset(words.split()))


GPUS = (
    _gpu("A10", 125, 22.0, "a10"),
    _gpu("A10G", 70, 22.0, "a10g"),
    _gpu("A40", 149.7, 44.4, "a40"),
    _gpu("A100-40GB", 312, 39.4, "a100 40gb"),
    _gpu("A100-80GB", 312, 79.1, "a100 80gb"),
    _gpu("RTX-3090", 71, 23.6, "rtx 3090"),
    _gpu("RTX-4090", 165.2, 23.6, "rtx 4090"),
    _gpu("RTX-5090", 209.5, 31.3, "rtx 5090"),
    _gpu("L4", 121, 22.0, "l4"),
    _gpu("L40S", 362, 44.4, "l40s"),
    _gpu("H100-PCIe", 756, 79.1, "h100 pcie"),
    _gpu("H100-NVL", 835, 93.1, "h100 nvl"),
    _gpu("H100", 989, 79.1, "h100"),
    _gpu("H200-NVL", 835, 139.7, "h200 nvl"),
    _gpu("H200", 989, 139.7, "h200"),
    _gpu("B200", 2250, 178.3, "b200"),
    _gpu("MI300X", 1307, 191.6, "mi300x"),
    _gpu("MI325X", 1307, 255.6, "mi325x"),
)
# A part of a GPU, or another chip of nearly the same name.
OTHERS = {"mig", "laptop", "d"}


def find_gpu(name: str) -> Gpu | None:
    """By a name of the table or one that `torch.cuda.get_device_name` gives; None for one unknown.

    "NVIDIA A100-SXM4-80GB" is A100-80GB, "NVIDIA H100 80GB HBM3" is H100 (SXM).
    """
    words = set(re.split(r"[^a-z0-9.]+", name.lower()))
    if words & OTHERS:
        return None
    found = [gpu for gpu in GPUS if gpu.words <= words]
    return max(found, key=lambda gpu: len(gpu.words), default=None)


def choose_gpus(config: TrainConfig, name: str | None) -> Sequence[Gpu]:
    """What to plan for: the GPU of this name, without one all, but none for a run on CPUs.

    Raises ConfigError, with the nearest names, for one that is not in the table.
    """
    if name is None:
        return GPUS if config.use_gpu else ()
    if not config.use_gpu:
        raise ConfigError(
            f"--gpu {name}: the recipe trains on CPUs (train.use_gpu is false); add train.use_gpu=true, or "
            "leave out --gpu"
        )
    found = find_gpu(name)
    if found is None:
        known = {gpu.name.lower(): gpu.name for gpu in GPUS}
        near = [gpu.name for gpu in GPUS if gpu.name.lower().startswith(name.lower())] or [
            known[match] for match in get_close_matches(name.lower(), known, n=2, cutoff=0.5)
        ]
        hint = f"did you mean {' or '.join(near)}?" if near else f"give one of {', '.join(known.values())}"
        raise ConfigError(f"--gpu {name}: not in the table of GPUs; {hint}")
    return (found,)
