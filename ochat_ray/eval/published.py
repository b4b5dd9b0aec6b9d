"""The published figures recomputed from the public raw judgments: figure, published, ours, difference.

The folder is the user's: the judgments of the Vicuna blog, QLoRA, FairEval, AlpacaEval, FastChat, PandaLM and
OpenChat, whose licences keep most of them from being shipped, and `expected.json` with what was published.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ochat_ray.errors import DataError
from ochat_ray.eval.formats import alpaca, choices, fastchat, labels, vicuna
from ochat_ray.eval.formats.length_control import read_difficulty, read_gamed, read_weights
from ochat_ray.eval.records import Judgment
from ochat_ray.eval.statistics import pairs
from ochat_ray.eval.statistics.agreement import agreement
from ochat_ray.eval.statistics.alpaca import win_rate
from ochat_ray.eval.statistics.grades import grade_figures
from ochat_ray.eval.statistics.length_control import Foretold, length_controlled, refit, rows_of

EXPECTED = "expected.json"
ALPACA = "alpaca_eval_"
PERCENT = 0.05  # what Vicuna percentages are published to
EXACT = 1e-6
PREFERENCE = 2e-6  # a preference, from log-probabilities as they were published
REFITTED = 0.16  # percent: the published regularising rows have the true terms, and preferences alike
CONTROLLED = "length_controlled_winrate"


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


def _rows(source: str, tolerance: float, figures: Mapping[str, tuple[Any, float | None]]) -> Iterator[Row]:
    """Rows of {figure: (published, ours)}; what was not published, or cannot be known, is left out."""
    for figure, (published, ours) in figures.items():
        if published not in (None, "") and ours is not None:
            yield Row(source, figure, float(published), ours, tolerance)


def _blog(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
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
    yield from _rows(f"vicuna_blog/{path.stem}", PERCENT, found)


def _qlora_reviews(folder: Path, model: str) -> list[Judgment]:
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


def _qlora(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    judgments = _qlora_reviews(folder, name.partition("/")[2])
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
    yield from _rows(
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


def _qlora_verdicts(folder: Path, _name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    for file, published in expected.items():
        path = folder / "qlora/pairwise" / file
        judgments = vicuna.read_reviews(path, model="second", baseline="first", judge="gpt-4")
        said = Counter(one.value for one in judgments)
        ours = {"first": said[0.0], "second": said[1.0], "tie": said[0.5], "unparsed": said[None]}
        found = {figure: (value, ours[figure]) for figure, value in zip(ours, published, strict=True)}
        yield from _rows(f"qlora/pairwise/{file.removesuffix('-threeclass.jsonl')}", 0, found)


def _faireval(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    people = labels.read_faireval(folder / "faireval/human.txt")
    [blog] = (folder / "vicuna_blog/review").glob("*/review_gpt35_vicuna-13b.jsonl")
    single = vicuna.read_reviews(blog, model="vicuna-13b", baseline="gpt-3.5", judge="gpt-4")
    both = _qlora_reviews(folder, "vicuna-13b")
    judged = {
        "vicuna_blog_single_order": single,
        "qlora_chatgpt_first": [one for one in both if one.swapped],
        "qlora_vicuna_first": [one for one in both if not one.swapped],
        "qlora_BPC_k1": both,
    }
    words = {1.0: "VICUNA13B", 0.5: "TIE", 0.0: "CHATGPT"}
    yield from _rows(
        name,
        EXACT,
        {f"labels {label}": (count, people.count(label)) for label, count in expected["labels"].items()},
    )
    for what, judgments in judged.items():
        said = {row.question: words[row.outcome] for row in pairs.pairs(judgments)}
        found = agreement(people, [said[str(number)] for number in range(1, len(people) + 1)])
        yield from _rows(
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
    yield from _rows(
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


def _mt_bench(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    model = name.partition("/")[2]
    judgments = fastchat.read_grades(folder / "mt_bench/gpt-4_single.jsonl")
    figures = grade_figures([one for one in judgments if one.model == model])
    yield from _rows(
        name,
        EXACT,
        {
            "turn1": (expected["turn1"], figures.by_turn[1].value),
            "turn2": (expected["turn2"], figures.by_turn[2].value),
            "average": (expected["average"], figures.average.value),
        },
    )


def _mt_bench_pair(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    if "columns" in expected:  # counts are published, their rates too
        for model, (wins, losses, ties, *rates) in ((m, v) for m, v in expected.items() if m != "columns"):
            total = wins + losses + ties
            shares = [wins / total, losses / total, pairs.Counts(wins, ties, losses).win_rate_adjusted / 100]
            named = zip(("win_rate", "loss_rate", "win_rate_adjusted"), rates, shares, strict=True)
            yield from _rows(f"{name}/{model}", EXACT, {what: (theirs, own) for what, theirs, own in named})
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
    yield from _rows(name, EXACT, {figure: (expected[figure], value) for figure, value in ours.items()})


def _choices(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    for task in choices.read_tasks(folder / "openchat_mcq/openchat.json"):
        ours = choices.accuracy(task.replies, task.labels)
        yield from _rows(name, EXACT, {task.name.removesuffix(".jsonl"): (expected[task.name], ours)})


def _pandalm(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    people = labels.read_pandalm_people(folder / "pandalm/testset-v1.json")
    majority = people.majority()
    if name.endswith("/human"):
        for one, other in combinations(range(3), 2):
            kappa = agreement(people.annotators[one], people.annotators[other]).kappa
            yield from _rows(
                name, 5e-5, {f"kappa_{one + 1}{other + 1}": (expected[f"kappa_{one + 1}{other + 1}"], kappa)}
            )
        counts = expected["label_distribution"]
        yield from _rows(
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
    yield from _rows(name, 5e-5, {figure: (published[figure], value) for figure, value in ours.items()})


def _alpaca(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    version = name.partition("/")[0]
    file = folder / name / "annotations.json"
    if not file.exists():
        yield from _leaderboard(folder, name, expected)
        return
    ours = win_rate(alpaca.read_annotations(file))
    figures = (
        "win_rate",
        "standard_error",
        "n_wins",
        "n_wins_base",
        "n_draws",
        "n_total",
        "discrete_win_rate",
    )
    yield from _rows(
        name, EXACT, {figure: (expected.get(figure), getattr(ours, figure)) for figure in figures}
    )
    if version == "alpaca_eval_2":
        yield from _length_controlled(folder, name, expected)
        yield from _preferences(file, name)


def _length_controlled(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """From the published weights, and from weights fitted anew."""
    meta = folder / "alpaca_eval_meta"
    file = folder / name / "annotations.json"
    judged = [one for one in alpaca.read_annotations(file) if one.value is not None]
    # Published figures take difficulties by position, also where rows are missing.
    difficulty = read_difficulty(meta / "instruction_difficulty_recovered.csv")[: len(judged)]
    weights = read_weights(meta / "glm_weights_AE2.csv").get(name.partition("/")[2].removesuffix("__glm"))
    if weights is not None:
        yield from _rows(name, EXACT, _foretold(expected, length_controlled(weights, difficulty)))
    answers = alpaca.read_compared(file)
    differences = [
        len(answers.baseline[one.question].turns[0]) - len(answers.model[one.question].turns[0])
        for one in judged
    ]
    rows = rows_of(np.array([one.value for one in judged]), np.array(differences, float), difficulty)
    anew = length_controlled(refit(rows, read_gamed(meta / "df_gamed_surrogate.csv")), difficulty)
    yield from _rows(name, REFITTED, _foretold(expected, anew, ", refitted"))


def _foretold(
    expected: Mapping[str, Any], ours: Foretold, how: str = ""
) -> dict[str, tuple[Any, float | None]]:
    error = "lc_standard_error"
    return {
        CONTROLLED + how: (expected.get(CONTROLLED), ours.win_rate),
        error + how: (expected.get(error), ours.standard_error),
    }


def _preferences(file: Path, name: str) -> Iterator[Row]:
    """The preference that is farthest from what the judge's log-probabilities make it."""
    published = {one.question: one.value for one in alpaca.read_annotations(file)}
    both = [
        (theirs, one.value)
        for one in alpaca.read_completions(file)
        if one.value is not None and (theirs := published[one.question]) is not None
    ]
    if both:
        theirs, ours = max(both, key=lambda pair: abs(pair[0] - pair[1]))
        figure = f"share, farthest of {len(both)} from raw"
        yield from _rows(name, PREFERENCE, {figure: (theirs, ours)})


def _leaderboard(folder: Path, name: str, expected: Mapping[str, Any]) -> Iterator[Row]:
    """A row of the leaderboard: its rates from its counts, its length from the model's outputs."""
    version, _, model = name.replace("/leaderboard", "").partition("/")
    if "n_wins" in expected:
        wins, draws, total = (int(expected[key]) for key in ("n_wins", "n_draws", "n_total"))
        values = [1.0] * wins + [0.5] * draws + [0.0] * (total - wins - draws)
        ours = win_rate(
            [Judgment(str(i), "", model, "baseline", "", value) for i, value in enumerate(values)]
        )
        yield from _rows(
            name,
            EXACT,
            {figure: (expected[figure], getattr(ours, figure)) for figure in ("win_rate", "standard_error")},
        )
    outputs = folder / "alpaca_eval_outputs" / model / "model_outputs.json"
    if outputs.exists():
        lengths = [len(answer.turns[0]) for answer in alpaca.read_outputs(outputs)]
        whole = sum(lengths) // len(lengths)  # published so
        yield from _rows(name, 0, {"avg_length": (expected.get("avg_length"), whole)})
    weights = read_weights(folder / "alpaca_eval_meta/glm_weights_AE2.csv").get(model)
    if version == "alpaca_eval_2" and weights is not None:
        difficulty = read_difficulty(folder / "alpaca_eval_meta/instruction_difficulty_recovered.csv")
        yield from _rows(name, EXACT, _foretold(expected, length_controlled(weights, difficulty)))


_KINDS: dict[str, Callable[[Path, str, Mapping[str, Any]], Iterator[Row]]] = {
    "vicuna_blog/": _blog,
    "qlora/pairwise": _qlora_verdicts,
    "qlora/": _qlora,
    "faireval": _faireval,
    ALPACA: _alpaca,
    "mt_bench/": _mt_bench,
    "mt_bench_pair/": _mt_bench_pair,
    "openchat_mcq/": _choices,
    "pandalm/": _pandalm,
}
