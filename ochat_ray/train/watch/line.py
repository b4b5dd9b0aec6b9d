"""The progress line, and lines of their own for what happens beside."""

from __future__ import annotations

from typing import Any

from ochat_ray.progress import Progress, say
from ochat_ray.train.watch.steps import News, Record

NAMED = 3
"""Conversations of a step left out that are named; the log has all."""


class Line:
    """Shows what comes. Its rate counts from the first step seen: starting workers does not distort it."""

    def __init__(self, steps: int, epochs: int) -> None:
        self.steps, self.epochs = steps, epochs
        self._progress: Progress | None = None
        self._record: Record = {}
        self._starts: int | None = None

    def show(self, news: News) -> None:
        """Starts and steps left out a line each, and the newest step in the rewritten one."""
        if self._starts is not None:  # the first look finds those of earlier commands
            for line in news.notes:
                self.tell(line)
        self._tell_starts(news.starts)
        for record in news.whole:
            # What an earlier command saw is told no more: before the first start of this one.
            if "skipped" in record and self._starts:
                self.tell(left_out(record))
        if news.newest is None:
            return
        step = news.newest["step"]
        self._record |= news.newest
        if self._progress is None or step < self._progress.count:
            self._progress = Progress("train", total=self.steps, unit="steps", start=step)
        elif step > self._progress.count:
            self._progress.update(step - self._progress.count, note(self._record, self.epochs))

    @property
    def started(self) -> bool:
        """Whether workers have begun, or gone on, in this command."""
        return bool(self._starts)

    def tell(self, line: str) -> None:
        """A line of its own."""
        if self._progress:
            self._progress.tell(f"train: {line}")
        else:
            say(f"train: {line}")

    def close(self) -> None:
        """The last line, with the time it took."""
        if self._progress:
            self._progress.close(note=note(self._record, self.epochs))

    def _tell_starts(self, starts: list[dict[str, int]]) -> None:
        if self._starts is None:  # the first look finds those of earlier commands
            self._starts = 0
            return
        for start in starts:
            workers = "1 worker" if start["workers"] == 1 else f"{start['workers']} workers"
            if self._starts:
                self.tell(
                    f"started again from the last checkpoint, at step {start['step']:,}, with {workers}"
                )
            elif start["step"]:
                self.tell(f"goes on from step {start['step']:,}, with {workers}")
            self._starts += 1
            self._progress = None


def note(record: dict[str, Any], epochs: int) -> str:
    """What is known of a step, the most wanted first, for terminals cut it off."""
    parts = [f"epoch {record['epoch']}/{epochs}"] if "epoch" in record else []
    for name, form in (
        ("loss", "loss {:.4f}"),
        ("tokens_per_s", "{:,.0f} tokens/s"),
        ("learning_rate", "lr {:.2e}"),
        ("grad_norm", "grad {:.2f}"),
        ("mfu", "MFU {:.1%}"),
        ("packing", "packed {:.1%}"),
        ("memory_gb", "{:.1f} GB"),
        ("eval_loss", "held-out {:.4f}"),
    ):
        if record.get(name) is not None:
            parts.append(form.format(record[name]))
    return ", ".join(parts)


def left_out(record: dict[str, Any]) -> str:
    """That a step was left out, why, and of which conversations it was made."""
    samples = record["samples"]
    named = ", ".join(samples[:NAMED])
    more = f" and {len(samples) - NAMED:,} more, see losses.jsonl" if len(samples) > NAMED else ""
    return f"step {record['step']:,} left out ({record['skipped']}); its conversations: {named}{more}"
