"""A finished evaluation scored and reported again: from its ledger to eval.html, with all intervals.

Ten models are compared with a baseline before one judge, in both orders, several samples each; the replies
are made up. It asks nobody anything, which is what a user waits for after the last reply.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ochat_ray.bench import record
from ochat_ray.config.eval import EndpointConfig, EvalConfig
from ochat_ray.eval.asking.exchange import Reply
from ochat_ray.eval.asking.ledger import opened
from ochat_ray.eval.conclude import conclude
from ochat_ray.eval.judges import wanted
from ochat_ray.eval.plan import Plan, make_plan
from ochat_ray.eval.run import evaluate

MODELS, SAMPLES = 10, 10
ANSWER_WORDS, EVIDENCE_WORDS = 150, 60
T = TypeVar("T")


def main(argv: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench evaluation", description=__doc__)
    parser.add_argument("--questions", type=int, default=500, help="200 judgments each (default: 500)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(Path(folder), args.questions)
        written = _fill(plan)
        scored, outcome = _timed(lambda: evaluate(plan, lambda *_: [], ask_models=False, ask_judges=False))
        reported, _ = _timed(lambda: conclude(plan, outcome))
        page = (plan.output / "eval.html").stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    assert len(outcome.judgments) == written
    table = [
        "| judgments | read and scored | figures, intervals, page | page | peak memory |",
        "|---:|---:|---:|---:|---:|",
        f"| {written:,} | {scored:.1f} CPU s | {reported:.1f} CPU s | {page:.1f} MB | {peak:.2f} GB |",
    ]
    record("A finished evaluation scored and reported", "\n".join(table))


def _plan(folder: Path, questions: int) -> Plan:
    chance = random.Random(0)
    path = folder / "questions.jsonl"
    names = ("writing", "coding", "math", "roleplay")
    rows = [{"id": str(n), "category": names[n % 4], "turns": [f"Question {n}?"]} for n in range(questions)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = folder / "answers.jsonl"
    with answers.open("w") as file:
        for model in [*(f"model {n}" for n in range(MODELS)), "baseline"]:
            for row in rows:
                text = "word " * chance.randint(ANSWER_WORDS // 5, ANSWER_WORDS * 2)
                answer = {"question": row["id"], "model": model, "turns": [f"{model}: {text}"]}
                file.write(json.dumps(answer) + "\n")
    config = EvalConfig(
        questions=str(path),
        answers=(str(answers),),
        baseline="baseline",
        judges=(EndpointConfig(name="judge"),),
        samples=SAMPLES,
    )
    return make_plan(folder / "out", config)


def _fill(plan: Plan) -> int:
    """Make up the judge's replies, who likes later models and the answer that is shown first."""
    chance = random.Random(1)
    [judge] = plan.config.judges
    number = 0
    with opened(plan.ledger) as ledger:
        asks = wanted(judge, plan.prompt, plan.cases(plan.given), SAMPLES)
        for number, (case, ask) in enumerate(asks, 1):  # noqa: B007
            assert ask is not None
            better = int(case.model.model.split()[-1]) / MODELS
            scores = [chance.gauss(6 + better, 1.5), chance.gauss(6, 1.5)]
            if case.swapped:
                scores.reverse()
            scores[0] += 0.5
            first, second = (min(10, max(1, round(score))) for score in scores)
            text = f"{'evidence ' * EVIDENCE_WORDS}\n[{first}, {second}]"
            ledger.add(ask, Reply(text, input_tokens=900))
    return number


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found
