"""What an evaluation has come to: the report, and its gist for a terminal or a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ochat_ray.errors import DataError
from ochat_ray.eval.plan import Plan
from ochat_ray.eval.ranking import ranking
from ochat_ray.eval.report.page import PAGE, write_report
from ochat_ray.eval.report.reference import published
from ochat_ray.eval.report.summary import summarise
from ochat_ray.eval.run import MISSING, SETTINGS, Outcome, reopen
from ochat_ray.eval.statistics.bradley_terry import Rating, ratings
from ochat_ray.eval.tasks import read_results

MOST_REASONS = 10
SHOWN = 100  # characters of a reply that could not be understood, from its end


def conclude(plan: Plan, outcome: Outcome) -> str:
    """Write eval.html and eval.json; returns what was used, what is missing, and the models in order."""
    report = summarise(
        outcome.judgments,
        title=plan.output.resolve().name,
        about=_about(plan),
        answers=[answer for of_model in outcome.answers.values() for answer in of_model.values()],
        questions=outcome.questions,
        rule=plan.config.rule,
        published=published(plan.config.references),
        ratings=_ratings(outcome),
        tasks=read_results(plan.output),
        missing=outcome.missing,
        bills=outcome.bills,
    )
    write_report(report, plan.output)
    return "\n".join(_lines(plan, outcome))


def _about(plan: Plan) -> str:
    config = plan.config
    parts = [config.questions or f"the {len(plan.questions)} shipped questions"]
    parts += [f"the first {config.limit}"] if config.questions and config.limit else []
    if config.judges:
        orders = {"both": "both orders", "drawn": "one order, drawn", "model_first": "the model first"}
        parts.append(f"prompt {config.prompt}")
        parts += [orders[config.orders]] if plan.prompt.pairwise else []
        parts.append(f"{config.samples} sample{'s' * (config.samples > 1)}")
    return ", ".join(parts)


def renew(plan: Plan) -> None:
    """Make the report of a folder again, with what has joined it; of tasks alone where there is no more."""
    if (plan.output / SETTINGS).exists():
        conclude(*reopen(plan.output))
    else:
        write_report(summarise([], tasks=read_results(plan.output)), plan.output)


def _lines(plan: Plan, outcome: Outcome) -> Iterator[str]:
    yield from (f"used     {one}" for one in outcome.bills)
    reasons = Counter((one.name, one.why) for one in outcome.missing)
    for (name, why), count in reasons.most_common(MOST_REASONS):
        yield f"missing  {count:,} of {name}: {why}"
    if len(reasons) > MOST_REASONS:
        yield f"missing  more, for {len(reasons) - MOST_REASONS:,} further reasons"
    if outcome.missing:
        yield f"what is missing is listed in {plan.output / MISSING}"
    if outcome.failed:
        yield f"{outcome.failed:,} requests got no reply; the same command asks for them only"
    if outcome.refused:
        yield f"{outcome.refused:,} requests were refused, and would be again"
    asked = {question.id for question in outcome.questions}
    answers = sum(len(asked & of_model.keys()) for of_model in outcome.answers.values())
    yield f"{answers:,} answers and {len(outcome.judgments):,} judgments; report in {plan.output / PAGE}"
    unread = [one for one in outcome.judgments if one.value is None]
    if unread:
        said = " ".join(unread[0].text.split())
        yield (
            f"{len(unread):,} of {len(outcome.judgments):,} judgments could not be understood, the first of "
            f"{unread[0].judge}: {'...' * (len(said) > SHOWN)}{said[-SHOWN:]!r}; --unread asks for them again"
        )
    if len(unread) < len(outcome.judgments):
        yield from _ranked(plan, outcome)


def _ranked(plan: Plan, outcome: Outcome) -> Iterator[str]:
    try:
        ranked = ranking(outcome.judgments, plan.figure, plan.config.rule)
    except DataError as error:  # e.g. two models that no game connects
        yield f"no ranking: {error}"
        return
    width = max(len(one.model) for one in ranked)
    for place, one in enumerate(ranked, 1):
        yield f"{place:3}. {one.model:{width}}  {plan.figure} {one.value:.2f}"


def _ratings(outcome: Outcome) -> list[Rating]:
    """Of all models that were compared, where that says more than the win rate does."""
    games = [one for one in outcome.judgments if one.baseline is not None]
    if len({name for one in games for name in (one.model, one.baseline)}) < 3:
        return []
    try:
        return ratings(games)
    except DataError:  # not all are connected by games
        return []
