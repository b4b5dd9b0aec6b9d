"""`ochat-ray eval ACTION`: see `ochat_ray.cli`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ochat_ray.errors import ConfigError
from ochat_ray.job import tell_job

DEFAULT_RECIPE = "openchat"
Run = Callable[[argparse.Namespace], int | None]
FORMATS = ("fastchat", "alpaca_eval")
ASKING = {
    "run": "let models answer and judges judge, and make the report",
    "answer": "let models answer only",
    "judge": "let judges judge the answers there are",
    "report": "ask nothing, and make judgments and report from what was said",
}
RECIPE_ACTIONS = tuple(f"eval {name}" for name in (*ASKING, "tasks"))  # these take a recipe


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
        if name in ("run", "judge"):
            sub.add_argument(
                "--unread", action="store_true", help="ask judges again what could not be understood"
            )
    export = action("export", _export, "write answers and judgments as files of FastChat or alpaca_eval")
    export.add_argument("output", type=Path, help="folder of an evaluation")
    export.add_argument("folder", type=Path, help="folder to write")
    export.add_argument("--as", dest="form", choices=FORMATS, required=True, help="whose files")
    people = action("people", _people, "let people judge what a judge is unsure about")
    people.add_argument("output", type=Path, help="folder of an evaluation")
    people.add_argument(
        "file",
        type=Path,
        help="CSV: written for people to fill in, or where it is there, read as they filled it",
    )
    people.add_argument("--model", help="whose answers (default: the only model)")
    people.add_argument("--baseline", help="against whom (default: the only baseline)")
    people.add_argument("--judge", help="which judge's doubts (default: the only judge)")
    tasks = action("tasks", _tasks, "academic benchmarks by lm-eval, over the models' endpoints")
    tasks.add_argument("output", type=Path, help="folder to write; results join the report in it")
    tasks.add_argument("--task", action="append", required=True, help="name of a task; may be repeated")
    tasks.add_argument("--tasks-folder", type=Path, metavar="DIR", help="tasks of your own, YAML of lm-eval")
    tasks.add_argument("--limit", type=int, metavar="N", help="first so many documents of each task only")
    tasks.add_argument("--shots", type=int, metavar="N", help="worked examples (default: the task's own)")
    recipe(tasks)
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
    from ochat_ray.eval.plan import make_plan, require_keys
    from ochat_ray.eval.run import estimates, settings_of

    config, former = recipe.eval, settings_of(args.output)
    if former and args.recipe is None and not any(word.startswith("eval.") for word in args.overrides):
        config = former  # as it was left
    if args.action == "report" and former is None and not config.judgments:
        raise ConfigError(
            f"{args.output}: there is no evaluation in it; name another folder, or files in eval.judgments"
        )
    planned = make_plan(args.output, config)
    ask_models, ask_judges = args.action in ("run", "answer"), args.action in ("run", "judge")
    if ask_judges and not config.judges:
        raise ConfigError(
            "no judge: name one in eval.judges, e.g. eval.judges='[{name: gpt-4o, url: "
            "https://api.openai.com/v1}]'; to let models answer only, use `ochat-ray eval answer`"
        )
    require_keys([*planned.config.models * ask_models, *planned.config.judges * ask_judges])
    if args.action != "report" and args.estimate:
        for one in estimates(planned, ask_models=ask_models, ask_judges=ask_judges):
            print(one)
        return 0
    from ochat_ray.eval.conclude import conclude
    from ochat_ray.eval.run import evaluate
    from ochat_ray.evaluation import native_answers

    with native_answers(recipe.serve, args.address) as natively:
        outcome = evaluate(
            planned,
            natively,
            ask_models=ask_models,
            ask_judges=ask_judges,
            unread=ask_judges and args.unread,
        )
    print(conclude(planned, outcome))
    tell_job(result=str(args.output))
    return 1 if outcome.failed or outcome.refused or outcome.mute else 0


def _export(args: argparse.Namespace) -> None:
    from ochat_ray.eval.export import export
    from ochat_ray.eval.run import reopen

    plan, outcome = reopen(args.output)
    for path in export(outcome, args.folder, args.form):
        print(path)
    if args.form == "alpaca_eval":
        print("preferences are means over orders and samples")
    elif plan.config.samples > 1:
        print(f"judgments are the first of {plan.config.samples} samples, as FastChat has one")


def _people(args: argparse.Namespace) -> None:
    from ochat_ray.eval.hitlc import Chosen, calibrated, write_doubts
    from ochat_ray.eval.run import reopen

    plan, outcome = reopen(args.output)
    step = calibrated if args.file.exists() else write_doubts
    chosen = Chosen(args.model, args.baseline, args.judge)
    print(step(args.file, outcome, plan.config.rule, chosen))


def _tasks(args: argparse.Namespace) -> None:
    from ochat_ray.config import load_recipe

    recipe = load_recipe(args.recipe or DEFAULT_RECIPE, args.overrides)
    from ochat_ray.eval.conclude import renew
    from ochat_ray.eval.plan import make_plan
    from ochat_ray.eval.tasks import run_tasks, table

    planned = make_plan(args.output, recipe.eval)
    for model in planned.config.models:
        if model.folder is not None:
            raise ConfigError(f"eval.models: {model.name} is a folder; serve it and give its url")
    rows = [
        row
        for model in planned.config.models
        for row in run_tasks(
            args.output,
            model,
            args.task,
            folder=args.tasks_folder,
            limit=args.limit,
            shots=args.shots,
        )
    ]
    renew(planned)
    print(table(rows))


def _compare(args: argparse.Namespace) -> None:
    from ochat_ray.eval.report.compare import compare
    from ochat_ray.eval.report.page import read_report

    print(compare(read_report(args.first), read_report(args.second)))


def _published(args: argparse.Namespace) -> int:
    from ochat_ray.eval.published import compare, table

    compared = compare(args.folder)
    print(table(compared))
    return 0 if all(row.agrees for row in compared.rows) else 1
