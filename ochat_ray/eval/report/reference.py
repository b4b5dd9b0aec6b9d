"""Published figures to set beside one's own, by choice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ochat_ray.errors import DataError
from ochat_ray.eval.report.schema import Published
from ochat_ray.strict import StrictModel, parse, read_yaml

FILE = Path(__file__).with_name("published.yaml")


class _File(StrictModel):
    tables: dict[str, Published]


def published(names: Iterable[str]) -> tuple[Published, ...]:
    """The tables of published figures by their names in `published.yaml`. Raises DataError for others."""
    data, lines = read_yaml(FILE)
    tables = parse(_File, data, str(FILE), lines).tables
    chosen = list(names)
    for name in chosen:
        if name not in tables:
            raise DataError(f"no figures are kept of {name!r}; choose from {', '.join(tables)}")
    return tuple(tables[name] for name in chosen)
