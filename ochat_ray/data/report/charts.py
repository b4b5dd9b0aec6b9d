"""Numbers to places: bars, axes and the dots of the map, in percent or in the map's own units. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ochat_ray.data.report.histogram import Histogram
from ochat_ray.data.report.names import topic_name
from ochat_ray.data.report.schema import Map, Point

MAP_SIZE = 10_000
"""Width and height of the map in its own units."""
SERIES = 16
"""Most colours and shapes of the map: 8 colours, as discs and then as squares. The last is for the rest."""

_MOST_TICKS = 9
_LABEL_CHARS = 40


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram; x, width and height in percent of the plot."""

    x: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Tick:
    """A mark at `at` percent; every other one may be left out where there is little room."""

    at: float
    text: str
    spare: bool


@dataclass(frozen=True)
class Plot:
    """A histogram ready to draw; `mark` is the place of a limit in percent, None where it is outside."""

    bars: list[Bar]
    ticks: list[Tick]
    top: int
    mark: float | None


def compact(value: float) -> str:
    """A number in at most five characters, e.g. 12k, 1.5M."""
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def about(value: float) -> str:
    """A number to three digits, e.g. 1,080."""
    return f"{float(f'{value:.3g}'):,.0f}"


def share(part: float, whole: float) -> str:
    """Percent, honest about little: `<0.1%` is not `0%`."""
    if not whole or not part:
        return "0%"
    percent = 100 * part / whole
    if percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    return f"{percent:.1f}%" if percent < 100 else f"{percent:.0f}%"


def percent(part: float, whole: float) -> float:
    """A length in percent."""
    return round(100 * part / whole, 3) if whole else 0.0


def plot(histogram: Histogram, unit: str, limit: int | None = None) -> Plot | None:
    """The bins side by side, equally wide whatever they span; None where nothing was counted."""
    histogram = histogram.trimmed()
    if not histogram.counts:
        return None
    width, top = 100 / len(histogram.counts), max(histogram.counts)
    bars = [
        Bar(round(index * width, 3), round(width, 3), percent(count, top), _title(low, high, count, unit))
        for index, (low, high, count) in enumerate(
            zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False)
        )
        if count
    ]
    return Plot(bars, _ticks(histogram.edges), top, None if limit is None else _place(limit, histogram.edges))


def _ticks(edges: Sequence[int]) -> list[Tick]:
    """Marks at powers of two where there are enough, else at all edges, thinned out to few."""
    chosen = [index for index, edge in enumerate(edges) if edge & (edge - 1) == 0]
    if len(chosen) < 3:
        chosen = list(range(len(edges)))
    chosen = chosen[:: -(-len(chosen) // _MOST_TICKS)]
    return [
        Tick(
            round(100 * index / (len(edges) - 1), 3),
            f"{edges[index]:,}" if edges[index] < 10_000 else compact(edges[index]),
            bool(order % 2),
        )
        for order, index in enumerate(chosen)
    ]


def _title(low: int, high: int, count: int, unit: str) -> str:
    span = f"{low:,}" if high == low + 1 else f"{low:,} to {high - 1:,}"
    return f"{span} {unit}: {count:,}"


def _place(value: int, edges: Sequence[int]) -> float | None:
    """Where a value lies on an axis of equally wide bins, in percent."""
    for index, (low, high) in enumerate(pairwise(edges)):
        if low <= value <= high:
            return round(100 * (index + (value - low) / (high - low)) / (len(edges) - 1), 3)
    return None


@dataclass(frozen=True)
class Series:
    """Points of one colour: `number` chooses colour and shape, `path` draws a dot at each."""

    number: int
    name: str
    count: int
    path: str


@dataclass(frozen=True)
class Colouring:
    """A way to colour the map. `numbers` are the series of the points, in their order."""

    by: str
    series: list[Series]
    numbers: list[int]


def colouring(drawn: Map, by: str, names: Sequence[str]) -> Colouring:
    """Points by their name, the most frequent first; those beyond `SERIES` together, as the last."""
    ranked = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
    own = len(ranked) if len(ranked) < SERIES else SERIES - 2
    number = {name: index if index < own else SERIES - 1 for index, (name, _) in enumerate(ranked)}
    titles = {index: name for index, (name, _) in enumerate(ranked[:own])}
    if own < len(ranked):
        titles[SERIES - 1] = f"{len(ranked) - own} others"
    found = []
    for index, title in titles.items():
        points = [point for point, name in zip(drawn.points, names, strict=True) if number[name] == index]
        found.append(Series(index, title, len(points), dots(points)))
    return Colouring(by, found, [number[name] for name in names])


def dots(points: Sequence[Point]) -> str:
    """A path of strokes of one unit, which caps make dots. PDF leaves out square ones of no length."""
    return "".join("M{} {}h1".format(*place(point)) for point in points)


def place(point: Point) -> tuple[int, int]:
    """Right and down from the upper left corner, in the map's units."""
    return round(point.x * MAP_SIZE), round((1 - point.y) * MAP_SIZE)


@dataclass(frozen=True)
class TopicLabel:
    """Where the name of a topic is written on the map, in percent."""

    x: float
    y: float
    text: str
    count: int


def topic_labels(drawn: Map) -> list[TopicLabel]:
    """The first words of each topic, at the point of it that the others are nearest to; the largest first."""
    labels = []
    for number, name in enumerate(drawn.topics):
        places = [place(point) for point in drawn.points if point.topic == number]
        if places:
            x, y = min(places, key=lambda here: sum(abs(here[0] - x) + abs(here[1] - y) for x, y in places))
            words = topic_name(", ".join(name.split(", ")[:3])[:_LABEL_CHARS])
            labels.append(TopicLabel(x * 100 / MAP_SIZE, y * 100 / MAP_SIZE, words, len(places)))
    return sorted(labels, key=lambda label: (-label.count, label.text))
