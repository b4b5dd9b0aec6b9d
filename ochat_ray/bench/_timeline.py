"""Nodes over time as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ochat_ray.nodes import Sample

WIDTH, ROW, LEFT, TOP, RIGHT = 900, 70, 130, 34, 20
COLOURS = ("#4269d0", "#efb118", "#3ca951", "#ff725c", "#a463f2")
FONT = 'font-family="sans-serif" font-size="12"'


def timeline(
    samples: Sequence[Sample], marks: Mapping[str, float], names: Mapping[str, str], title: str
) -> str:
    """An SVG: a row of steps for each kind of node, and a line where something happened.

    `marks`: moments by what happened, on the samples' clock; `names`: what to call each kind.
    """
    begin, end = samples[0].at_s, samples[-1].at_s
    scale = (WIDTH - LEFT - RIGHT) / max(end - begin, 1e-9)

    def x(at_s: float) -> float:
        return round(LEFT + (at_s - begin) * scale, 1)

    height = TOP + ROW * len(names) + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" {FONT}>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    bottom = TOP + ROW * len(names)
    for row, (kind, name) in enumerate(names.items()):
        most = max(1, *(sample.nodes.get(kind, 0) for sample in samples))
        base, unit = TOP + ROW * (row + 1), (ROW - 22) / most
        points = [f"{x(begin)},{base}"]
        level = 0
        for sample in samples:
            number = sample.nodes.get(kind, 0)
            if number != level:
                points += [f"{x(sample.at_s)},{base - each * unit:.1f}" for each in (level, number)]
                level = number
        points += [f"{x(end)},{base - level * unit:.1f}", f"{x(end)},{base}"]
        colour = COLOURS[row % len(COLOURS)]
        parts += [
            f'<polygon points="{" ".join(points)}" fill="{colour}" fill-opacity="0.55" stroke="{colour}"/>',
            f'<text x="{LEFT - 8}" y="{base - 6}" text-anchor="end">{escape(name)}</text>',
            f'<text x="{LEFT - 8}" y="{base - most * unit + 4:.1f}" text-anchor="end">{most}</text>',
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}" stroke="#ccc"/>',
        ]
    for number, (what, at_s) in enumerate(marks.items()):
        y = bottom + 16 + 13 * (number % 2)
        parts += [
            f'<line x1="{x(at_s)}" x2="{x(at_s)}" y1="{TOP}" y2="{bottom}" stroke="#555"/>',
            f'<text x="{x(at_s)}" y="{y}" text-anchor="middle">{escape(what)} {at_s - begin:.0f} s</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
