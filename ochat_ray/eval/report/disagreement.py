"""Judges against each other, where several judged the same answers. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

from ochat_ray.eval.report.schema import JudgeAgreement, PairGroup
from ochat_ray.eval.statistics.agreement import agreement

Labels = dict[tuple[str, str, str, int], str]
"""Outcomes by model, baseline, question and turn."""


def judge_agreements(groups: Iterable[PairGroup]) -> Iterator[JudgeAgreement]:
    """Of every two judges, over all models that both judged on the same questions."""
    by_judge: dict[str, Labels] = defaultdict(dict)
    for group in groups:
        for row in group.rows:
            key = (group.model, group.baseline, row.question, row.turn)
            by_judge[group.judge][key] = str(row.outcome)
    for (first, its), (second, others) in combinations(by_judge.items(), 2):
        shared = [key for key in its if key in others]
        if shared:
            found = agreement([its[key] for key in shared], [others[key] for key in shared])
            yield JudgeAgreement(
                first=first,
                second=second,
                compared=len(shared),
                same=100 * found.accuracy,
                kappa=found.kappa,
            )
