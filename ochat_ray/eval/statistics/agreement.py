"""How far two sets of labels of the same items agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sklearn import metrics

from ochat_ray.errors import DataError


@dataclass(frozen=True)
class Agreement:
    """Shares, 0 to 1. `kappa` is Cohen's (1960), NaN where everybody says the same one thing, for then chance
    agrees as well. The macro means are over the labels of the reference."""

    accuracy: float
    kappa: float
    macro_precision: float
    macro_recall: float
    macro_f1: float


def agreement(reference: Sequence[str], labels: Sequence[str]) -> Agreement:
    """Of labels with those of a reference, item by item.

    Raises DataError unless both have as many items, at least one.
    """
    if len(reference) != len(labels) or not labels:
        raise DataError(
            f"{len(reference)} reference labels and {len(labels)} labels: expected as many, at least one"
        )
    known = sorted(set(reference))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        reference, labels, labels=known, average="macro", zero_division=0
    )
    alike = len({*reference, *labels}) == 1
    return Agreement(
        accuracy=float(metrics.accuracy_score(reference, labels)),
        kappa=math.nan if alike else float(metrics.cohen_kappa_score(reference, labels)),
        macro_precision=float(precision),
        macro_recall=float(recall),
        macro_f1=float(f1),
    )
