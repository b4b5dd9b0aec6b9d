"""Vicuna-bench as its authors, QLoRA and FairEval judged it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ochat_ray.eval.formats import labels, vicuna
from ochat_ray.eval.published.rows import EXACT, PERCENT, Row, beside
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics import pairs
from ochat_ray.eval.statistics.agreement import agreement


def blog(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """Scores of the Vicuna blog, in one order."""
    path = folder / "vicuna_blog/review" / name.removeprefix("vicuna_blog/")
    judgments = vicuna.read_reviews(path, model="second", baseline="first", judge="gpt-4")
    figures = pairs.pair_figures(judgments)
    ours = {
        "total_first": sum(one.against or 0 for one in judgments),
        "total_second": sum(one.value or 0 for one in judgments),
        "second_pct_of_first": figures.percent_of_baseline and figures.percent_of_baseline.value,
        "second_win": figures.counts.wins,
        "tie": figures.counts.ties,
        "second_loss": figures.counts.losses,
    }
    found = {figure: (expected.get(figure), value) for figure, value in ours.items()}
    yield from beside(f"vicuna_blog/{path.stem}", PERCENT, found)


def qlora_reviews(folder: Path, model: str) -> list[Judgment]:
    """Both orders of a model and ChatGPT; which is which is told by ids, as names of files do not agree."""
    ids = vicuna.read_answers(folder / "qlora/answer_gpt35.jsonl")
    # 65b-guanaco-vicuna-generations-... is no file of vicuna-13b: names stand at the start or after `-vs-`.
    files = [
        path
        for path in sorted((folder / "qlora/relative-gpt-3.5").glob("*.jsonl"))
        if any(side.startswith(model) for side in path.name.replace("-gpt4-reviewer.jsonl", "").split("-vs-"))
    ]
    return [
        one
        for path in files
        for one in vicuna.read_reviews(path, model=model, baseline="gpt-3.5", judge="gpt-4", baseline_ids=ids)
    ]


def qlora(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """Scores of QLoRA, in both orders."""
    judgments = qlora_reviews(folder, name.partition("/")[2])
    figures = pairs.pair_figures(judgments)
    pooled = [
        (one.value, one.against) for one in judgments if one.value is not None and one.against is not None
    ]
    percent = figures.percent_of_baseline
    assert percent is not None and figures.model_first is not None and figures.baseline_first is not None
    model_first, baseline_first = (
        side.percent_of_baseline for side in (figures.model_first, figures.baseline_first)
    )
    counts = expected["bpc_win_tie_loss"]
    recalled = next(value for key, value in expected.items() if key.startswith("paper_table_recalled"))
    orders = [baseline_first, model_first]
    if (
        model_first is not None and abs(model_first - recalled[0]) < PERCENT
    ):  # columns changed places in print
        orders.reverse()
    yield from beside(
        name,
        PERCENT,
        {
            "n_reviews": (expected["n_reviews"], len(judgments)),
            "n_unparsed": (expected["n_unparsed"], figures.unparsed),
            "sys_first_pct": (expected["sys_first_pct"], model_first),
            "chatgpt_first_pct": (expected["chatgpt_first_pct"], baseline_first),
            "pooled_both_orders_pct": (
                expected["pooled_both_orders_pct"],
                100 * sum(value for value, _ in pooled) / sum(against for _, against in pooled),
            ),
            "openchat_visualizer_pct": (expected["openchat_visualizer_pct"], percent.value),
            "bpc wins": (counts[0], figures.counts.wins),
            "bpc ties": (counts[1], figures.counts.ties),
            "bpc losses": (counts[2], figures.counts.losses),
            "bpc_win_rate_adjusted": (expected["bpc_win_rate_adjusted"], figures.win_rate_adjusted.value),
            "order_conflicts": (expected["order_conflicts"], figures.conflicts),
            "paper, one order": (recalled[0], orders[0]),
            "paper, other order": (recalled[1], orders[1]),
            "paper, mean": (recalled[2], percent.value),
        },
    )


def qlora_verdicts(folder: Path, _name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """Verdicts of QLoRA, in one order."""
    for file, published in expected.items():
        path = folder / "qlora/pairwise" / file
        judgments = vicuna.read_reviews(path, model="second", baseline="first", judge="gpt-4")
        said = Counter(one.value for one in judgments)
        ours = {"first": said[0.0], "second": said[1.0], "tie": said[0.5], "unparsed": said[None]}
        found = {figure: (value, ours[figure]) for figure, value in zip(ours, published, strict=True)}
        yield from beside(f"qlora/pairwise/{file.removesuffix('-threeclass.jsonl')}", 0, found)


def faireval(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """How far the judge agrees with FairEval's people, in either order and both."""
    people = labels.read_faireval(folder / "faireval/human.txt")
    [blog] = (folder / "vicuna_blog/review").glob("*/review_gpt35_vicuna-13b.jsonl")
    single = vicuna.read_reviews(blog, model="vicuna-13b", baseline="gpt-3.5", judge="gpt-4")
    both = qlora_reviews(folder, "vicuna-13b")
    judged = {
        "vicuna_blog_single_order": single,
        "qlora_chatgpt_first": [one for one in both if one.swapped],
        "qlora_vicuna_first": [one for one in both if not one.swapped],
        "qlora_BPC_k1": both,
    }
    words = {1.0: "VICUNA13B", 0.5: "TIE", 0.0: "CHATGPT"}
    yield from beside(
        name,
        EXACT,
        {f"labels {label}": (count, people.count(label)) for label, count in expected["labels"].items()},
    )
    for what, judgments in judged.items():
        said = {row.question: words[row.outcome] for row in pairs.pairs(judgments)}
        found = agreement(people, [said[str(number)] for number in range(1, len(people) + 1)])
        yield from beside(
            f"{name}/{what}",
            EXACT,
            {
                "accuracy": (expected[what]["accuracy"], found.accuracy),
                "kappa": (expected[what]["kappa"], found.kappa),
            },
        )
    figures = pairs.pair_figures(both)
    first, second = (
        pairs.count(pairs.pairs([one for one in both if one.swapped is swapped])) for swapped in (False, True)
    )
    yield from beside(
        name,
        EXACT,
        {
            "conflicts": (expected["conflicts"], figures.conflicts),
            "vicuna_win_rate_as_assistant1": (
                expected["vicuna_win_rate_as_assistant1"],
                first.wins / figures.questions,
            ),
            "vicuna_win_rate_as_assistant2": (
                expected["vicuna_win_rate_as_assistant2"],
                second.wins / figures.questions,
            ),
        },
    )
