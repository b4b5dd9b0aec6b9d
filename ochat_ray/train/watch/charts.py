"""The charts of a run: which lines each has, where they lie, what is marked. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ochat_ray.config import TrainConfig
from ochat_ray.train.watch import axes
from ochat_ray.train.watch.axes import Scale, Tick
from ochat_ray.train.watch.curves import Series, is_number, smoothed, spread, thinned
from ochat_ray.train.watch.logs import Logs

COLOURS = 8
MOST_HOVER = 800
"""Steps that can be pointed at, evenly spread."""
MOST_DOTS = 60
"""Evaluations that are dots on their line; a lone value always is one."""


@dataclass(frozen=True)
class Line:
    """A line of a chart. `kind` decides its look; a quiet one is not in the legend."""

    name: str
    kind: str
    path: str
    dots: list[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """A step where something happened, at `at` percent."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart. `limit` is a height in percent with its text."""

    key: str
    title: str
    caption: str
    lines: list[Line]
    up: list[Tick]
    across: list[Tick]
    limit: Mark | None = None


@dataclass(frozen=True)
class Marks:
    """What all charts mark."""

    epochs: list[Mark]
    restarts: list[Mark]
    skipped: list[Mark]


class Drawing:
    """Draws charts over one axis of steps."""

    def __init__(self, logs: Logs, config: TrainConfig) -> None:
        self.logs, self.config = logs, config
        last = max((entry["step"] for entry in logs.losses), default=1)
        self.across = axes.of_steps(last)
        self._ticks = {most: self.across.ticks(most, whole=True) for most in (8, 4)}

    def loss(self) -> Chart | None:
        """Of every step, smoothed, and on held-out conversations."""
        held_out = Series.of(self.logs.evals, "eval_loss")
        caption = "Weighted mean over the tokens of a step that are to be learnt."
        return self._chart(
            "loss",
            "Loss",
            caption,
            Series.of(self.logs.steps, "loss"),
            extra=[("held-out", "eval", held_out)] if len(held_out) else [],
            wide=True,
        )

    def classes(self) -> Chart | None:
        """Losses on held-out conversations, in all and by class."""
        names = self.logs.classes
        if not names:
            return None
        rows = [{"step": e["step"], "": e["eval_loss"], **e.get("eval_losses", {})} for e in self.logs.evals]
        lines = [(name, f"c{at % COLOURS}", Series.of(rows, name)) for at, name in enumerate(names)]
        lines.append(("all", "eval", Series.of(rows, "")))
        return self._lines(
            "classes",
            "Loss on held-out conversations, by class",
            "In all, tokens weigh as they do in training.",
            lines,
            axes.of_values([series for _, _, series in lines]),
            wide=True,
        )

    def course(self) -> list[Chart]:
        """Learning rate and gradient norm."""
        steps, clip = self.logs.steps, self.config.max_grad_norm
        rate = Series.of(steps, "learning_rate")
        norm = Series.of(steps, "grad_norm")
        charts = [
            self._lines("rate", "Learning rate", "", [("", "main", rate)], axes.of_values([rate], zero=True))
            if len(rate)
            else None,
            self._chart(
                "norm",
                "Gradient norm",
                "Before it is clipped.",
                norm,
                zero=True,
                limit=(clip, f"clipped to {clip:g}"),
            ),
        ]
        return [chart for chart in charts if chart]

    def speed(self) -> list[Chart]:
        """Tokens per second and packing; on GPUs also how well they are used, and their memory."""
        speed = self.logs.speed
        memory = Series.of([entry for entry in speed if "mfu" in entry], "memory_gb")
        charts = [
            self._chart(
                "tokens", "Tokens per second", "Of all workers.", Series.of(speed, "tokens_per_s"), zero=True
            ),
            self._chart(
                "packing",
                "Packing efficiency, %",
                "Share of the bins' room that tokens fill.",
                _percent(Series.of(speed, "packing")),
                most=100,
            ),
            self._chart(
                "mfu",
                "Model FLOPs utilisation, %",
                "Share of what the GPUs can compute that the model itself needed.",
                _percent(Series.of(speed, "mfu")),
                zero=True,
            ),
            self._chart("memory", "Memory, GB", "The most that a worker held.", memory, zero=True),
        ]
        return [chart for chart in charts if chart]

    def marks(self) -> Marks:
        """Beginnings of epochs, restarts, steps left out."""
        steps = self.logs.steps
        changes = [b for a, b in pairwise(steps) if a["epoch"] != b["epoch"]]
        return Marks(
            [Mark(self._at(entry), f"epoch {entry['epoch']}") for entry in changes],
            [
                Mark(self._at(entry), f"started again at step {entry['step']:,}")
                for entry in self.logs.starts[1:]
            ],
            [
                Mark(self._at(entry), f"step {entry['step']:,} left out")
                for entry in steps
                if "skipped" in entry
            ],
        )

    def hover(self) -> dict[str, Any]:
        """What pointing shows: the values of some steps by chart, and of all evaluations."""
        speed = {entry["step"]: entry for entry in self.logs.speed}
        rows = [{**speed.get(entry["step"], {}), **entry} for entry in self.logs.steps]
        chosen = [rows[index] for index in spread(len(rows), MOST_HOVER)] if rows else []
        values = {
            "loss": ("loss", 1),
            "rate": ("learning_rate", 1),
            "norm": ("grad_norm", 1),
            "tokens": ("tokens_per_s", 1),
            "packing": ("packing", 100),
            "mfu": ("mfu", 100),
            "memory": ("memory_gb", 1),
        }
        return {
            "low": self.across.low,
            "high": self.across.high,
            "steps": [row["step"] for row in chosen],
            "epochs": [row["epoch"] for row in chosen],
            "values": {
                key: [_short(row.get(name), by) for row in chosen] for key, (name, by) in values.items()
            },
            "evals": {
                "steps": [entry["step"] for entry in self.logs.evals],
                "all": [_short(entry["eval_loss"]) for entry in self.logs.evals],
                "classes": {
                    name: [_short(entry.get("eval_losses", {}).get(name)) for entry in self.logs.evals]
                    for name in self.logs.classes
                },
            },
        }

    def _at(self, entry: dict[str, Any]) -> float:
        return self.across.place(entry["step"])

    def _chart(
        self,
        key: str,
        title: str,
        caption: str,
        series: Series,
        *,
        extra: list[tuple[str, str, Series]] | None = None,
        zero: bool = False,
        wide: bool = False,
        most: float | None = None,
        limit: tuple[float, str] | None = None,
    ) -> Chart | None:
        """A noisy series and its smoothed line; None where there is nothing."""
        if not len(series):
            return None
        mean, extra = smoothed(series), extra or []
        lines = (
            [("each step", "noise", series), ("smoothed", "main", mean)]
            if mean
            else [("each step", "main", series)]
        )
        shown = [series, *(line for _, _, line in extra)]
        up = axes.of_values(shown, zero=zero, beside=limit[0] if limit else None)
        if most is not None:
            up = Scale(up.low, min(up.high, most))
        above = int((series.values_N > up.high).sum())
        if above:
            caption += (
                f" {above:,} step{'s' if above > 1 else ''} above the chart, to {series.values_N.max():.3g}."
            )
        return self._lines(key, title, caption, lines + extra, up, wide=wide, limit=limit)

    def _lines(
        self,
        key: str,
        title: str,
        caption: str,
        lines: list[tuple[str, str, Series]],
        up: Scale,
        *,
        wide: bool = False,
        limit: tuple[float, str] | None = None,
    ) -> Chart:
        drawn = [
            Line(name, kind, axes.path(thinned(series), self.across, up), self._dots(kind, series, up))
            for name, kind, series in lines
        ]
        inside = limit is not None and limit[0] < up.high
        mark = Mark(up.place(limit[0]), limit[1]) if limit and inside else None
        return Chart(
            key, title, caption, drawn, up.ticks(6 if wide else 4), self._ticks[8 if wide else 4], mark
        )

    def _dots(self, kind: str, series: Series, up: Scale) -> list[tuple[float, float]]:
        alone = len(series) == 1
        if not alone and (kind in ("main", "noise") or len(series) > MOST_DOTS):
            return []
        points = zip(series.steps_N.tolist(), series.values_N.tolist(), strict=True)
        return [(self.across.place(step), round(100 - up.place(value), 2)) for step, value in points]


def _percent(series: Series) -> Series:
    return Series(series.steps_N, np.asarray(series.values_N * 100))


def _short(value: float | None, by: float = 1) -> float | None:
    return float(f"{value * by:.5g}") if is_number(value) else None
