"""A whole evaluation: models answer, judges judge, and what they said is written down.

All that was ever said is in the ledger, and everything else in the output folder is made from that and the
settings: any step can be done again, with other settings too, and nothing is asked twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ochat_ray.config.eval import EndpointConfig, EvalConfig
from ochat_ray.errors import DataError
from ochat_ray.eval import answers as answering
from ochat_ray.eval.answers import Answers, answers_path, asks_to_expect, known_replies
from ochat_ray.eval.asking.asker import Asker
from ochat_ray.eval.asking.bill import Bill, Budget, Estimate, bill, estimate
from ochat_ray.eval.asking.exchange import Ask, Missing, Reply
from ochat_ray.eval.asking.ledger import Ledger, opened
from ochat_ray.eval.judges import JUDGMENT_TOKENS, Case, ask_judge, judgment, wanted
from ochat_ray.eval.plan import Plan, make_plan
from ochat_ray.eval.records import Answer, Judgment, Question, write_records
from ochat_ray.manifest import write_json
from ochat_ray.progress import say
from ochat_ray.strict import parse

JUDGMENTS, MISSING, SETTINGS = "judgments.jsonl", "missing.jsonl", "evaluation.json"
NOT_ASKED, NOT_GIVEN = "not asked yet", "not in the file of its answers"

Natively = Callable[[EndpointConfig, Sequence[Question], Ledger], list[Missing]]
"""Lets a model that is a folder answer questions; its replies go into the ledger. Returns what it did not
answer."""
Failed = dict[tuple[str, str], Missing]
"""What got no reply, by the model that was asked and what it was for."""


@dataclass(frozen=True)
class Outcome:
    """What an evaluation has come to so far."""

    questions: list[Question]
    answers: dict[str, Answers]
    judgments: list[Judgment]
    missing: list[Missing]
    bills: list[Bill]

    @property
    def mute(self) -> list[str]:
        """Judges of whom nothing could be understood."""
        judges = dict.fromkeys(one.judge for one in self.judgments)
        heard = {one.judge for one in self.judgments if one.value is not None}
        return [name for name in judges if name not in heard]

    @property
    def refused(self) -> int:
        """Requests that are at fault themselves, so that asking again is in vain."""
        return sum(one.refused for one in self.missing)

    @property
    def failed(self) -> int:
        """Requests that got no reply just now, and may get one later."""
        return sum(not one.refused and one.why not in (NOT_ASKED, NOT_GIVEN) for one in self.missing)


def evaluate(
    plan: Plan, natively: Natively, *, ask_models: bool, ask_judges: bool, unread: bool = False
) -> Outcome:
    """Ask what is to be asked, and write what all replies there are come to: answers/, judgments.jsonl,
    missing.jsonl and evaluation.json, the settings. An interrupted evaluation writes that too.

    With `unread` judges are asked again what they said nothing about that could be understood.
    """
    with opened(plan.ledger) as ledger:
        write_json(plan.output / SETTINGS, plan.config.resolved().model_dump(mode="json"))
        failed: Failed = {}
        try:
            if ask_models:
                for end in plan.config.models:
                    if end.folder is not None:
                        _note(failed, natively(end, plan.questions, ledger))
            if unread:
                _forget_unread(plan, ledger)
            asyncio.run(_ask(plan, ledger, failed, ask_models=ask_models, ask_judges=ask_judges))
        finally:
            outcome = _outcome(plan, ledger, failed)
            write_records(plan.output / JUDGMENTS, outcome.judgments)
            write_records(plan.output / MISSING, outcome.missing)
    return outcome


def estimates(plan: Plan, *, ask_models: bool, ask_judges: bool) -> list[Estimate]:
    """What is still to be asked, model by model and judge by judge, about. Writes nothing."""
    with (
        TemporaryDirectory() as empty,
        opened(plan.ledger if plan.ledger.exists() else Path(empty) / "none") as ledger,
    ):
        models = [_estimate_model(plan, end, ledger) for end in plan.config.models]
        answers = _answers(plan, ledger)
        if ask_models:  # those that are not there yet are thought of as middling
            for end in plan.config.models:
                for question in plan.questions:
                    turns = (answering.middling(),) * len(question.turns)
                    answers[end.name].setdefault(question.id, Answer(question.id, end.name, turns))
        judges = [_estimate_judge(plan, one, _asks(plan, one, answers), ledger) for one in plan.config.judges]
    return models * ask_models + judges * ask_judges


def settings_of(output: Path) -> EvalConfig | None:
    """The settings of the evaluation in a folder; None where there is none. Raises ConfigError."""
    path = output / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it, and give the recipe again") from error
    return parse(EvalConfig, settings, str(path))


def reopen(output: Path) -> tuple[Plan, Outcome]:
    """An evaluation as it was left, by the settings in its folder. Raises DataError where it is none."""
    settings = settings_of(output)
    if settings is None:
        raise DataError(f"{output}: no evaluation in it; run `ochat-ray eval run {output}` first")
    plan = make_plan(output, settings)
    with opened(plan.ledger) as ledger:
        return plan, _outcome(plan, ledger, {})


async def _ask(plan: Plan, ledger: Ledger, failed: Failed, *, ask_models: bool, ask_judges: bool) -> None:
    budget = Budget(plan.config.budget, ledger.cost)
    for end in plan.config.models:
        if ask_models and end.folder is None:
            _tell(_estimate_model(plan, end, ledger))
            async with _asker(end, ledger, budget) as asker:
                _note(failed, await answering.ask_answers(asker, plan.questions))
    if not ask_judges:
        return
    answers = _answers(plan, ledger)
    for judge in plan.config.judges:
        asks = _asks(plan, judge, answers)
        _tell(_estimate_judge(plan, judge, asks, ledger))
        async with _asker(judge, ledger, budget) as asker:
            _note(failed, await ask_judge(asker, asks))


def _forget_unread(plan: Plan, ledger: Ledger) -> None:
    answers = _answers(plan, ledger)
    for judge in plan.config.judges:
        for case, ask in _asks(plan, judge, answers):
            reply = ledger.get(ask)
            if reply is not None and judgment(judge.name, plan.prompt, case, reply).value is None:
                ledger.forget(ask)


@asynccontextmanager
async def _asker(endpoint: EndpointConfig, ledger: Ledger, budget: Budget) -> AsyncIterator[Asker]:
    asker = Asker(endpoint, ledger, budget)
    try:
        yield asker
    finally:
        await asker.close()


def _outcome(plan: Plan, ledger: Ledger, failed: Failed) -> Outcome:
    answers = _answers(plan, ledger, written=True)
    judgments = list(plan.given_judgments)
    missing = _unanswered(plan, answers, ledger, failed)
    bills = []
    for end in plan.config.models:
        known = [reply for one in plan.questions for _, reply in known_replies(end, one, ledger)]
        bills.append(bill(end, known))
    for judge in plan.config.judges:
        said: dict[str, Reply] = {}
        for case, ask in wanted(judge, plan.prompt, plan.cases(answers), plan.config.samples):
            reply = ledger.get(ask) if ask else None
            if ask and reply is None:
                unasked = Missing(judge.name, case.what, NOT_ASKED)
                missing.append(failed.get((judge.name, case.what), unasked))
                continue
            if ask and reply:
                said[ask.key] = reply
            judgments.append(judgment(judge.name, plan.prompt, case, reply))
        bills.append(bill(judge, list(said.values())))
    return Outcome(plan.questions, answers, judgments, missing, [one for one in bills if one.replies])


def _asks(plan: Plan, judge: EndpointConfig, answers: dict[str, Answers]) -> list[tuple[Case, Ask]]:
    """What a judge has to be asked."""
    pairs = wanted(judge, plan.prompt, plan.cases(answers), plan.config.samples)
    return [(case, ask) for case, ask in pairs if ask is not None]


def _answers(plan: Plan, ledger: Ledger, *, written: bool = False) -> dict[str, Answers]:
    """Of all models, as far as they are known."""
    answers = dict(plan.given)
    for end in plan.config.models:
        path = answers_path(plan.output, end.name) if written else None
        answers[end.name] = answering.collect(end, plan.questions, ledger, path)
    return answers


def _unanswered(plan: Plan, answers: dict[str, Answers], ledger: Ledger, failed: Failed) -> list[Missing]:
    missing = []
    ends = {end.name: end for end in plan.config.models}
    for model, of_model in answers.items():
        for question in plan.questions:
            if question.id in of_model:
                continue
            if model in ends:
                turn = len(known_replies(ends[model], question, ledger)) + 1
                what = answering.turn_of(question, turn)
                missing.append(failed.get((model, what), Missing(model, what, NOT_ASKED)))
            else:
                missing.append(Missing(model, f"question {question.id}", NOT_GIVEN))
    return missing


def _estimate_model(plan: Plan, end: EndpointConfig, ledger: Ledger) -> Estimate:
    asks = asks_to_expect(end, plan.questions, ledger)
    return estimate(end, asks, ledger, answering.REPLY_TOKENS)


def _estimate_judge(
    plan: Plan, judge: EndpointConfig, asks: Sequence[tuple[Case, Ask]], ledger: Ledger
) -> Estimate:
    return estimate(judge, [ask for _, ask in asks], ledger, JUDGMENT_TOKENS[plan.prompt.reads])


def _note(failed: Failed, missing: Sequence[Missing]) -> None:
    failed.update({(one.name, one.what): one for one in missing})


def _tell(expected: Estimate) -> None:
    say(str(expected))
