"""MT-bench: grades, and verdicts on two answers in both orders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ochat_ray.eval.formats import fastchat
from ochat_ray.eval.published.rows import EXACT, Row, beside
from ochat_ray.eval.statistics import pairs
from ochat_ray.eval.statistics.grades import grade_figures


def mt_bench(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """Grades of single answers."""
    model = name.partition("/")[2]
    judgments = fastchat.read_grades(folder / "mt_bench/gpt-4_single.jsonl")
    figures = grade_figures([one for one in judgments if one.model == model])
    yield from beside(
        name,
        EXACT,
        {
            "turn1": (expected["turn1"], figures.by_turn[1].value),
            "turn2": (expected["turn2"], figures.by_turn[2].value),
            "average": (expected["average"], figures.average.value),
        },
    )


def mt_bench_pair(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """Verdicts in both orders, or rates of published counts."""
    if "columns" in expected:  # counts are published, their rates too
        for model, (wins, losses, ties, *rates) in ((m, v) for m, v in expected.items() if m != "columns"):
            total = wins + losses + ties
            shares = [wins / total, losses / total, pairs.Counts(wins, ties, losses).win_rate_adjusted / 100]
            named = zip(("win_rate", "loss_rate", "win_rate_adjusted"), rates, shares, strict=True)
            yield from beside(f"{name}/{model}", EXACT, {what: (theirs, own) for what, theirs, own in named})
        return
    model = name.partition("/")[2]
    file = folder / "mt_bench/gpt-4_pair_phi3.jsonl"
    judgments = fastchat.read_verdicts(file, model=model, baseline=model.removesuffix("-dpo"))
    counts = pairs.count(pairs.pairs(judgments, "agree"))
    total = counts.wins + counts.ties + counts.losses
    ours = {
        "win": counts.wins,
        "loss": counts.losses,
        "tie": counts.ties,
        "win_rate": counts.wins / total,
        "win_rate_adjusted": counts.win_rate_adjusted / 100,
    }
    yield from beside(name, EXACT, {figure: (expected[figure], value) for figure, value in ours.items()})
