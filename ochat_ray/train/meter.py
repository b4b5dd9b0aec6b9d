"""How fast and how large each step was: `speed.jsonl`."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ochat_ray.train.feed import Feed
from ochat_ray.train.flops import Size, peak_flops


class Meter:
    """Measures on the first worker, which waits for the others in each step."""

    def __init__(self, feed: Feed, base: Path, max_tokens: int, device: torch.device) -> None:
        self.feed, self.max_tokens, self.device = feed, max_tokens, device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
        self.peak = peak_flops(name) if name else None
        self.size = Size.of(base) if self.peak else None
        self.entry: dict[str, Any] = {}

    @contextmanager
    def timed(self, step: int) -> Iterator[None]:
        """A step, whose figures `entry` holds after the block."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        plan, tokens = self.feed.plan, self.feed.step_tokens(step)
        self.entry = {
            "step": step + 1,
            "seconds": round(seconds, 6),
            "tokens_per_s": round(tokens / seconds, 1),
            "packing": round(tokens / (plan.bins_per_step * self.max_tokens), 4),
            "memory_gb": round(self._memory() / 1e9, 3),
        }
        if self.peak and self.size:
            whole = self.size.flops(self.feed.tokens.lengths_N[plan.step(step)])
            self.entry["mfu"] = round(whole / (seconds * dist.get_world_size() * self.peak), 4)

    def _memory(self) -> float:
        """Most bytes that this worker ever had on its device."""
        if self.device.type == "cuda":
            return float(torch.cuda.max_memory_allocated(self.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
