"""A report as the page shows it: numbers worded, shares and lengths worked out, rows in order. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from ochat_ray.data.report import flow
from ochat_ray.data.report.charts import (
    Colouring,
    Plot,
    TopicLabel,
    about,
    colouring,
    percent,
    place,
    plot,
    share,
    topic_labels,
)
from ochat_ray.data.report.names import language_name, model_name, topic_name
from ochat_ray.data.report.schema import Map, Report, Tokens
from ochat_ray.html_page import shown

MOST_ROWS = 12
"""Rows of a table that are shown at once; the rest can be opened."""

_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class Row:
    """A row of a table with a bar: how much of the whole table was read, and how much of that kept."""

    name: str
    read: int
    kept: int
    kept_share: str
    read_percent: float
    kept_percent: float
    note: str = ""


@dataclass(frozen=True)
class Part:
    """A part of a stacked bar, in percent."""

    kind: str
    count: int
    share: str
    at: float
    width: float


@dataclass(frozen=True)
class Stack:
    """A stacked bar."""

    name: str
    total: int
    parts: list[Part]


@dataclass(frozen=True)
class TokensView:
    """The tokens of one model type."""

    tokens: Tokens
    plot: Plot | None
    median: str
    longer: str
    stacks: list[Stack]


@dataclass(frozen=True)
class MapView:
    """The map of conversations, and what the script needs to make it answer."""

    shown: int
    of: int
    colourings: list[Colouring]
    labels: list[TopicLabel]
    data: dict[str, Any]


def context(report: Report) -> dict[str, Any]:
    """What the template is filled with."""
    return {
        "report": report,
        "headline": _headline(report),
        "across": flow.across(report.funnel) if report.read else None,
        "down": flow.down(report.funnel) if report.read else None,
        "rejected": _rejected(report),
        "tokens": [_tokens(one) for one in report.tokens],
        "lengths": [
            ("Messages", plot(report.messages, "messages"), _half(report.messages, "messages")),
            ("Characters", plot(report.chars, "characters"), _half(report.chars, "characters")),
        ],
        "models": _rows([(model_name(one.name), one.read, one.kept) for one in report.models]),
        "languages": _rows([(language_name(one.code), one.read, one.kept) for one in report.languages]),
        "clusters": _cluster_sizes(report),
        "map": _map(report.map) if report.map and report.map.points else None,
    }


def tags(html: str) -> Markup:
    """HTML as text, with its tags set apart from what stands between them. Nothing of it is interpreted."""
    parts, at = [], 0
    html = shown(html)
    for match in _TAG.finditer(html):
        parts += [escape(html[at : match.start()]), Markup("<i>{}</i>").format(match.group())]
        at = match.end()
    return Markup("").join([*parts, escape(html[at:])])


def _headline(report: Report) -> list[tuple[str, str, str]]:
    """Name, number and remark."""
    read, kept = report.read, report.kept
    lines = [
        ("Read", f"{read:,}", "conversations and documents"),
        ("Kept", f"{kept:,}", f"{share(kept, read)} of those read"),
        ("Turned away", f"{read - kept:,}", _plural(len(report.rejected), "reason")),
    ]
    for one in report.tokens[:1]:
        written = one.train.tokens + one.eval.tokens
        learnt = one.train.target_tokens + one.eval.target_tokens
        lines += [
            ("Tokens", f"{written:,}", f"for {one.model_type}"),
            ("Supervised", f"{learnt:,}", f"{share(learnt, written)} of the tokens"),
        ]
    return lines


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _rejected(report: Report) -> list[Row]:
    most = max(report.rejected.values(), default=0)
    return [
        Row(name, count, 0, share(count, report.read), percent(count, most), 0, report.reasons.get(name, ""))
        for name, count in report.rejected.items()
        if count
    ]


def _rows(counts: Sequence[tuple[str, int, int]]) -> list[Row]:
    most = max((read for _, read, _ in counts), default=0)
    return [
        Row(name, read, kept, share(kept, read), percent(read, most), percent(kept, most))
        for name, read, kept in sorted(counts, key=lambda one: (-one[1], -one[2], one[0]))
    ]


def _half(histogram: Any, unit: str) -> str:
    if not histogram.total:
        return ""
    return f"Half of them have fewer than about {about(histogram.quantile(0.5))} {unit}."


def _tokens(tokens: Tokens) -> TokensView:
    total = tokens.lengths.total
    longer = share(tokens.lost.conversations, total)
    stacks = [
        _stack("Tokens", [tokens.train.tokens, tokens.eval.tokens, tokens.lost.tokens]),
        _stack(
            "Supervised tokens",
            [tokens.train.target_tokens, tokens.eval.target_tokens, tokens.lost.target_tokens],
        ),
    ]
    drawn = plot(tokens.lengths, "tokens", tokens.context)
    return TokensView(tokens, drawn, _half(tokens.lengths, "tokens"), longer, stacks)


def _stack(name: str, counts: Sequence[int]) -> Stack:
    total = sum(counts)
    parts, at = [], 0.0
    for kind, count in zip(("train", "eval", "lost"), counts, strict=True):
        width = percent(count, total)
        parts.append(Part(kind, count, share(count, total), round(at, 3), width))
        at += width
    return Stack(name, total, parts)


def _cluster_sizes(report: Report) -> list[Row]:
    sizes = report.near_duplicates.sizes if report.near_duplicates else {}
    most = max(sizes.values(), default=0)
    return [
        Row(f"{size:,}", count, 0, f"{size * count:,}", percent(count, most), 0)
        for size, count in sorted(sizes.items())
        if count
    ]


def _map(drawn: Map) -> MapView:
    points = drawn.points
    names = {
        "topic": [topic_name(drawn.topics[point.topic]) for point in points],
        "model": [model_name(point.model) for point in points],
        "language": [language_name(point.language) for point in points],
    }
    colourings = [colouring(drawn, by, values) for by, values in names.items()]
    found = {by: sorted(set(values)) for by, values in names.items()}
    index = {by: {name: number for number, name in enumerate(values)} for by, values in found.items()}
    data = {
        "names": found,
        "series": {one.by: one.numbers for one in colourings},
        "points": [
            [
                *place(point),
                *map(shown, (point.id, point.question, point.answer)),
                *(index[by][names[by][at]] for by in names),
            ]
            for at, point in enumerate(points)
        ],
    }
    return MapView(len(points), drawn.of, colourings, topic_labels(drawn), data)
