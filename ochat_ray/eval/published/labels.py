"""Labels: OpenChat's multiple choice, and PandaLM's people and judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from ochat_ray.eval.formats import choices, labels
from ochat_ray.eval.published.rows import EXACT, Row, beside
from ochat_ray.eval.statistics.agreement import agreement


def multiple_choice(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """Accuracies of OpenChat's replies."""
    for task in choices.read_tasks(folder / "openchat_mcq/openchat.json"):
        ours = choices.accuracy(task.replies, task.labels)
        yield from beside(name, EXACT, {task.name.removesuffix(".jsonl"): (expected[task.name], ours)})


def pandalm(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """How far three people agree with each other, or a judge with their majority."""
    people = labels.read_pandalm_people(folder / "pandalm/testset-v1.json")
    majority = people.majority()
    if name.endswith("/human"):
        for one, other in combinations(range(3), 2):
            kappa = agreement(people.annotators[one], people.annotators[other]).kappa
            yield from beside(
                name, 5e-5, {f"kappa_{one + 1}{other + 1}": (expected[f"kappa_{one + 1}{other + 1}"], kappa)}
            )
        counts = expected["label_distribution"]
        yield from beside(
            name, 0, {f"label {label}": (counts[label], majority.count(label)) for label in counts}
        )
        return
    said = labels.read_pandalm_judge(folder / f"pandalm/{name.partition('/')[2]}-testset-v1.json")
    found = agreement(majority, said)
    [published] = expected.values()
    ours = {
        "accuracy": found.accuracy,
        "macro_p": found.macro_precision,
        "macro_r": found.macro_recall,
        "macro_f1": found.macro_f1,
    }
    yield from beside(name, 5e-5, {figure: (published[figure], value) for figure, value in ours.items()})
