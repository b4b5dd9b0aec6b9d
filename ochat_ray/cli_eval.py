"""`ochat-ray eval ACTION`: see `ochat_ray.cli`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ochat_ray.errors import ConfigError

if TYPE_CHECKING:
    from ochat_ray.config import Recipe
    from ochat_ray.eval.plan import Plan

DEFAULT_RECIPE = "openchat"
Run = Callable[[argparse.Namespace], int | None]
ASKING = {
    "run": "let models answer and judges judge, and make the report",
    "answer": "let models answer only",
    "judge": "let judges judge the answers there are",
    "report": "ask nothing, and make judgments and report from what was said",
}


def add_actions(evaluate: argparse.ArgumentParser, recipe: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the actions of `eval`; `recipe` adds the options of commands that take one."""
    actions = evaluate.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, run: Run, text: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(parser=sub, run=run)
        return sub

    for name, text in ASKING.items():
        sub = action(name, _evaluate, text)
        sub.add_argument("output", type=Path, help="folder to write; what was said lies in it")
        recipe(sub)
        if name != "report":
            sub.add_argument(
                "--estimate", action="store_true", help="tell requests, tokens, cost and time; ask nothing"
            )
    compare = action("compare", _compare, "what differs between two evaluations, and whether by chance")
    compare.add_argument("first", type=Path, help="an evaluation's folder, or its eval.json")
    compare.add_argument("second", type=Path, help="another one")
    published = action(
        "published", _published, "recompute published figures from the public raw judgments, and print both"
    )
    published.add_argument("folder", type=Path, help="judgments, and expected.json with what was published")


def _evaluate(args: argparse.Namespace) -> int:
    from ochat_ray.config import load_recipe

    recipe = load_recipe(args.recipe or DEFAULT_RECIPE, args.overrides)
    from ochat_ray.eval.plan import plan
    from ochat_ray.eval.run import estimates

    planned = plan(args.output, recipe.eval)
    ask_models, ask_judges = args.action in ("run", "answer"), args.action in ("run", "judge")
    if ask_judges and not recipe.eval.judges:
        raise ConfigError(
            "no judge: name one in eval.judges, e.g. eval.judges='[{name: gpt-4o, url: "
            "https://api.openai.com/v1}]'; to let models answer only, use `ochat-ray eval answer`"
        )
    if args.action != "report" and args.estimate:
        for one in estimates(planned):
            print(one)
        return 0
    return _carry_out(planned, recipe, args.address, ask_models=ask_models, ask_judges=ask_judges)


def _carry_out(
    planned: Plan, recipe: Recipe, address: str | None, *, ask_models: bool, ask_judges: bool
) -> int:
    from ochat_ray.eval.run import MISSING, evaluate
    from ochat_ray.evaluation import native_answers

    with native_answers(recipe.serve, address) as natively:
        outcome = evaluate(planned, natively, ask_models=ask_models, ask_judges=ask_judges)
    if outcome.account():
        print(outcome.account())
    answers = sum(map(len, outcome.answers.values()))
    print(f"{answers:,} answers and {len(outcome.judgments):,} judgments in {planned.output}")
    if outcome.missing:
        print(f"what is missing is listed in {planned.output / MISSING}")
    if outcome.failed:
        print(f"{outcome.failed:,} requests got no reply; run the same command again to ask for them only")
    return 1 if outcome.failed else 0


def _compare(args: argparse.Namespace) -> None:
    from ochat_ray.eval.report.compare import compare
    from ochat_ray.eval.report.page import read_report

    print(compare(read_report(args.first), read_report(args.second)))


def _published(args: argparse.Namespace) -> int:
    from ochat_ray.eval.published import compare, table

    compared = compare(args.folder)
    print(table(compared))
    return 0 if all(row.agrees for row in compared.rows) else 1
