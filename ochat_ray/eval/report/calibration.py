"""How a figure and its interval narrow as more of the judgments are used: samples, and both orders. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ochat_ray.eval.records import Judgment
from ochat_ray.eval.report.schema import Calibrated, Figure, Orders
from ochat_ray.eval.statistics.pairs import Rule, pair_figures, pairs

SWAPPED: dict[Orders, tuple[bool, ...]] = {
    "model_first": (False,),
    "baseline_first": (True,),
    "both": (False, True),
}


def calibration(judgments: Sequence[Judgment], rule: Rule) -> tuple[Calibrated, ...]:
    """Of one model, baseline and judge, from one order and sample to all; nothing where that is all."""
    parts = list(_parts({j.swapped for j in judgments}, 1 + max(j.sample for j in judgments)))
    if len(parts) < 2:
        return ()
    return tuple(
        found for orders, samples in parts if (found := _calibrated(judgments, rule, orders, samples))
    )


def _parts(swapped: set[bool], samples: int) -> Iterator[tuple[Orders, int]]:
    """Orders with 1, 2, 4, ... and all samples; where there are both, each by itself with 1 and all only."""
    single: list[Orders] = [name for name in ("model_first", "baseline_first") if {*SWAPPED[name]} <= swapped]
    for count in sorted({*(2**n for n in range(samples.bit_length())), samples}):
        if len(single) == 1 or count in (1, samples):
            yield from ((name, count) for name in single)
        if len(single) == 2:
            yield "both", count


def _calibrated(judgments: Sequence[Judgment], rule: Rule, orders: Orders, samples: int) -> Calibrated | None:
    """None where nothing of the part is understood."""
    part = [j for j in judgments if j.swapped in SWAPPED[orders] and j.sample < samples]
    if not part or not pairs(part, rule):
        return None
    figures = pair_figures(part, rule)
    return Calibrated(
        orders=orders,
        samples=samples,
        win_rate=Figure.of(figures.win_rate_adjusted),
        percent=Figure.of(figures.percent_of_baseline) if figures.percent_of_baseline else None,
    )
