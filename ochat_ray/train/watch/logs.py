"""A run's logs as a whole, and the figures that sum it up."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ochat_ray.progress import duration
from ochat_ray.train import log
from ochat_ray.train.folders import Folders

Entries = list[dict[str, Any]]


@dataclass(frozen=True)
class Logs:
    """Lines of losses.jsonl, speed.jsonl and attempts.jsonl, as far as the run came."""

    losses: Entries
    speed: Entries
    starts: Entries

    @classmethod
    def load(cls, folders: Folders) -> Logs:
        """What lies in a training output."""
        return cls(*map(log.read, (folders.losses, folders.speed, folders.attempts)))

    @property
    def steps(self) -> Entries:
        """The entries of steps, also of those left out."""
        return [entry for entry in self.losses if "epoch" in entry]

    @property
    def evals(self) -> Entries:
        """The entries of evaluations."""
        return [entry for entry in self.losses if "eval_loss" in entry]

    @property
    def lowest(self) -> dict[str, Any]:
        """The evaluation of the lowest loss, the first if there are several."""
        return min(self.evals, key=lambda entry: entry["eval_loss"])

    @property
    def classes(self) -> list[str]:
        """Names of the classes that were evaluated, in order."""
        return sorted({name for entry in self.evals for name in entry.get("eval_losses", {})})

    def headline(self, planned: int) -> list[tuple[str, str, str]]:
        """The few figures that everybody wants: name, value, remark."""
        steps, losses = self.steps, self._losses()
        found = [
            ("Steps", f"{len(steps):,}", "all of the run" if len(steps) == planned else f"of {planned:,}")
        ]
        if losses:
            found.append(("Loss", f"{losses[-1]:.3f}", f"from {losses[0]:.3f} in the first step"))
        if self.evals:
            best, last = self.lowest, self.evals[-1]
            remark = (
                "the lowest" if last is best else f"lowest {best['eval_loss']:.3f} at step {best['step']:,}"
            )
            found.append(("Held-out loss", f"{last['eval_loss']:.3f}", remark))
        tokens, targets = (sum(entry.get(name, 0) for entry in steps) for name in ("tokens", "targets"))
        found.append(("Tokens", _large(tokens), f"{targets / max(tokens, 1):.0%} of them to be learnt"))
        if self.speed:
            seconds = sum(entry["seconds"] for entry in self.speed)
            found.append(("Time", duration(seconds), f"{tokens / max(seconds, 1e-9):,.0f} tokens/s"))
        return found

    def facts(self) -> list[tuple[str, str]]:
        """Further figures, a row each."""
        steps, losses = self.steps, self._losses()
        if not steps:
            return []
        tokens, targets = (sum(entry.get(name, 0) for entry in steps) for name in ("tokens", "targets"))
        found = [
            ("Tokens", f"{tokens:,}"),
            ("Tokens to be learnt", f"{targets:,} ({targets / max(tokens, 1):.1%})"),
            ("Tokens a step", f"{tokens / len(steps):,.0f}"),
        ]
        if losses:
            last = [
                entry["loss"] for entry in steps if "loss" in entry and entry["epoch"] == steps[-1]["epoch"]
            ]
            if last:
                found.append((f"Mean loss in epoch {steps[-1]['epoch']}", f"{fmean(last):.4f}"))
        found.append(("Highest learning rate", f"{max(entry['learning_rate'] for entry in steps):.3g}"))
        for name, title, form in (
            ("seconds", "Seconds a step", "{:.3g}"),
            ("packing", "Packing efficiency", "{:.2%}"),
            ("mfu", "Model FLOPs utilisation", "{:.1%}"),
        ):
            values = [entry[name] for entry in self.speed if entry.get(name) is not None]
            if values:
                found.append((title, form.format(fmean(values))))
        memory = [entry["memory_gb"] for entry in self.speed if entry.get("memory_gb") is not None]
        if memory:
            found.append(("Most memory of a worker", f"{max(memory):.1f} GB"))
        found.append(("Steps left out", f"{sum('skipped' in entry for entry in steps):,}"))
        return found

    def _losses(self) -> list[float]:
        return [entry["loss"] for entry in self.steps if "loss" in entry]


def _large(count: int) -> str:
    """A count in at most seven characters: 12,345, 1.25 M."""
    for size, letter in ((10**9, "B"), (10**6, "M")):
        if count >= size:
            return f"{count / size:.2f} {letter}"
    return f"{count:,}"
