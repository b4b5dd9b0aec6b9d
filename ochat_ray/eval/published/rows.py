"""A figure as published beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

PERCENT = 0.05  # what Vicuna percentages are published to
EXACT = 1e-6

Figures = Mapping[str, tuple[Any, float | None]]
"""Published and ours, by what the figure is called."""


class Row(NamedTuple):
    """A figure as published and as recomputed, equal to `tolerance`."""

    source: str
    figure: str
    published: float
    ours: float
    tolerance: float

    @property
    def difference(self) -> float:
        return self.ours - self.published

    @property
    def agrees(self) -> bool:
        return abs(self.difference) <= self.tolerance


def beside(source: str, tolerance: float, figures: Figures) -> Iterator[Row]:
    """A row a figure; what was not published, or cannot be known, is left out."""
    for figure, (published, ours) in figures.items():
        if published not in (None, "") and ours is not None:
            yield Row(source, figure, float(published), ours, tolerance)
