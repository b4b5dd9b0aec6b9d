"""The funnel as a drawing: one stream from read to kept, from which those turned away bend off. Pure.

Drawn along the stream and across it (both in px), so that the same code serves a drawing that runs to the
right, for wide screens, and one that runs down, for narrow ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ochat_ray.data.report.schema import Stage

_LEAD = 22.0
"""Way from a stage to where streams start to bend."""
_RADIUS = 14.0
_HEAD = 9.0
_LINE = 17.0
"""Height of a line of text."""
_LEAST = 1.5
"""Width of the stream of a few, so that it can be seen."""
_MOST_REASONS = 5


@dataclass(frozen=True)
class Label:
    """A text at a place; `kind` is the class that styles it."""

    x: float
    y: float
    text: str
    kind: str


@dataclass(frozen=True)
class Flow:
    """A drawing: its size, the outlines of the streams (d of SVG paths) and what is written beside them."""

    width: float
    height: float
    kept: list[str]
    dropped: list[str]
    heads: list[str]
    labels: list[Label]


def across(stages: Sequence[Stage], width: float = 1040) -> Flow:
    """The stream runs right, the stages' names above it and the reasons below its bends. Needs a stage."""
    step = (width - 110) / max(1, len(stages) - 1)
    thick = max(40.0, min(128.0, step - _LEAD - _RADIUS - 16))
    top, end = 50.0, thick + _RADIUS + 8
    pen = _Pen(thick / max(1, stages[0].count), top=top)
    labels: list[Label] = []
    bottom = top + thick
    for index, stage in enumerate(stages):
        at = index * step
        labels += [Label(at, 18, stage.stage, "name"), Label(at, 38, f"{stage.count:,}", "count")]
        if index + 1 == len(stages):
            pen.arrow(at, stage.count)
            continue
        pen.stage(at, step, stages[index + 1], end)
        lines = _lines(stages[index + 1], room=int((step - _LEAD - _RADIUS) / 6.2))
        labels += _written(lines, at + _LEAD + _RADIUS, top + end + _HEAD + 18)
        bottom = max(bottom, top + end + _HEAD + 12 + len(lines) * _LINE)
    return Flow(width, round(bottom + 6), pen.kept, pen.dropped, pen.heads, labels)


def down(stages: Sequence[Stage], width: float = 330) -> Flow:
    """The stream runs down, names and reasons to its right. Needs a stage."""
    thick = 90.0
    side = thick + _RADIUS + 8
    pen = _Pen(thick / max(1, stages[0].count), turned=True)
    labels: list[Label] = []
    at = 0.0
    for index, stage in enumerate(stages):
        labels += [
            Label(side + 18, at + 14, stage.stage, "name"),
            Label(width, at + 14, f"{stage.count:,}", "count end"),
        ]
        if index + 1 == len(stages):
            pen.arrow(at, stage.count)
            continue
        lines = _lines(stages[index + 1], room=int((width - side - 18) / 6.2))
        labels += _written(lines, side + 18, at + _LEAD + _RADIUS + 6)
        step = max(
            40.0,
            _LEAD + _RADIUS + _LINE * len(lines) + 8,
            _LEAD + _RADIUS + pen.wide_dropped(stages[index + 1]) + 12,
        )
        pen.stage(at, step, stages[index + 1], side)
        at += step
    return Flow(width, round(at + 34), pen.kept, pen.dropped, pen.heads, labels)


def _ranked(stage: Stage) -> list[tuple[str, int]]:
    """Reasons with anything behind them, the most frequent first; the rest of many taken together."""
    ranked = sorted(
        ((name, n) for name, n in stage.dropped.items() if n), key=lambda item: (-item[1], item[0])
    )
    if len(ranked) <= _MOST_REASONS:
        return ranked
    rest = ranked[_MOST_REASONS - 1 :]
    return ranked[: _MOST_REASONS - 1] + [(f"{len(rest)} other reasons", sum(n for _, n in rest))]


def _lines(stage: Stage, room: int) -> list[str]:
    """What is written where a stream bends off, of at most `room` characters; nothing where none does."""
    ranked = _ranked(stage)
    if not ranked:
        return []
    lines = [f"{count:,} {reason}" for reason, count in ranked]
    total = f"\u2212{sum(count for _, count in ranked):,}"
    return [total, *(line if len(line) <= room else line[: room - 1] + "\u2026" for line in lines)]


def _written(lines: Sequence[str], x: float, y: float) -> list[Label]:
    return [Label(x, y + row * _LINE, line, "reason" if row else "less") for row, line in enumerate(lines)]


@dataclass
class _Pen:
    """Collects outlines. `scale` is px a conversation, `top` where the stream's edge lies across it."""

    scale: float
    top: float = 0.0
    turned: bool = False
    kept: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    def wide(self, count: int) -> float:
        """Width of the stream of so many."""
        return max(_LEAST, count * self.scale) if count else 0.0

    def wide_dropped(self, stage: Stage) -> float:
        """Width of all that bends off before a stage."""
        return sum(self.wide(count) for _, count in _ranked(stage))

    def stage(self, at: float, step: float, following: Stage, end: float) -> None:
        """The stream from a stage to the following one, and what bends off on the way, as far as `end`."""
        inner = self.wide(following.count)
        if inner:
            self.kept.append(self._path([(at, 0), (at + step - 1, 0), (at + step - 1, inner), (at, inner)]))
        drop = self.wide_dropped(following)
        if not drop:
            return
        middle = inner + drop + _RADIUS
        bend, from_ = at + _LEAD, inner
        for _, count in _ranked(following):
            to = from_ + self.wide(count)
            self.dropped.append(self._bend(at, bend, from_, to, middle, end))
            from_ = to
        near, far = bend + _RADIUS, bend + _RADIUS + drop
        head = min(_HEAD, max(5.0, drop / 2))
        self.heads.append(self._path([(near - 3, end), (far + 3, end), ((near + far) / 2, end + head)]))

    def arrow(self, at: float, count: int) -> None:
        """The end of the stream."""
        wide = self.wide(count)
        if wide:
            outline = [
                (at, 0),
                (at + 8, 0),
                (at + 8, -3),
                (at + 20, wide / 2),
                (at + 8, wide + 3),
                (at + 8, wide),
                (at, wide),
            ]
            self.kept.append(self._path(outline))

    def _bend(self, at: float, bend: float, from_: float, to: float, middle: float, end: float) -> str:
        """A stream between `from_` and `to` across, turning by a quarter around (`bend`, `middle`)."""
        outer, inner = middle - from_, middle - to
        points = [
            "M" + self._at(at, from_),
            "L" + self._at(bend, from_),
            self._arc(outer, forth=True) + self._at(bend + outer, middle),
            "L" + self._at(bend + outer, end),
            "L" + self._at(bend + inner, end),
            "L" + self._at(bend + inner, middle),
            self._arc(inner, forth=False) + self._at(bend, to),
            "L" + self._at(at, to),
        ]
        return "".join(points) + "Z"

    def _arc(self, radius: float, *, forth: bool) -> str:
        return f"A{radius:.1f} {radius:.1f} 0 0 {int(forth != self.turned)} "

    def _path(self, points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(self._at(along, across) for along, across in points) + "Z"

    def _at(self, along: float, across: float) -> str:
        x, y = (across, along) if self.turned else (along, self.top + across)
        return f"{x:.1f} {y:.1f}"
