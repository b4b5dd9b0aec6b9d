"""What `expected.json` names, recomputed; and the table of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ochat_ray.errors import DataError
from ochat_ray.eval.published import alpaca, labels, mt_bench, vicuna
from ochat_ray.eval.published.rows import Row

EXPECTED = "expected.json"
ALPACA = "alpaca_eval_"

_KINDS: dict[str, Callable[[Path, str, Mapping[str, Any]], Iterator[Row]]] = {
    "vicuna_blog/": vicuna.blog,
    "qlora/pairwise": vicuna.qlora_verdicts,
    "qlora/": vicuna.qlora,
    "faireval": vicuna.faireval,
    ALPACA: alpaca.alpaca_eval,
    "mt_bench/": mt_bench.mt_bench,
    "mt_bench_pair/": mt_bench.mt_bench_pair,
    "openchat_mcq/": labels.multiple_choice,
    "pandalm/": labels.pandalm,
}


class Compared(NamedTuple):
    """All rows, and what of `expected.json` was not recomputed, with why."""

    rows: list[Row]
    left_out: dict[str, str]


def compare(folder: Path) -> Compared:
    """Recompute what `expected.json` in a folder names. Raises DataError naming what is missing."""
    try:
        expected: dict[str, Any] = json.loads((folder / EXPECTED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder / EXPECTED}: {error}; give the folder of published judgments, with its {EXPECTED}"
        ) from error
    rows, left_out = [], {}
    for name, figures in expected.items():
        kind = next((kind for kind in _KINDS if name.startswith(kind)), None)
        if kind is None:
            left_out[name] = "not a kind of figure that is known"
            continue
        found = list(_KINDS[kind](folder, name, figures))
        rows += found
        if kind == ALPACA:
            done = {row.figure for row in found}
            missing = [figure for figure, value in figures.items() if value and figure not in done]
            if missing:
                left_out[name] = f"{', '.join(missing)}: what it was made of is not in the folder"
    return Compared(rows, left_out)


def table(compared: Compared) -> str:
    """The rows for people."""
    width = max((len(row.source) for row in compared.rows), default=6)
    figure = max((len(row.figure) for row in compared.rows), default=6)
    lines = [f"{'source':{width}}  {'figure':{figure}}  {'published':>12}  {'ours':>12}  {'difference':>10}"]
    for row in compared.rows:
        mark = "" if row.agrees else f"  beyond {row.tolerance:g}"
        lines.append(
            f"{row.source:{width}}  {row.figure:{figure}}  {row.published:12.6g}  {row.ours:12.6g}"
            f"  {row.difference:+10.1e}{mark}"
        )
    agreeing = sum(row.agrees for row in compared.rows)
    lines.append(f"{agreeing} of {len(compared.rows)} figures as published")
    lines += [f"not recomputed: {name}: {why}" for name, why in compared.left_out.items()]
    return "\n".join(lines)
