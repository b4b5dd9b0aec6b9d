"""Evaluation of models that are folders, which answer by batch inference, and of the epochs of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from openai.types.chat import ChatCompletion

from ochat_ray.batch import infer
from ochat_ray.config import Recipe, ServeConfig
from ochat_ray.config.eval import EndpointConfig
from ochat_ray.errors import OchatError, one_line
from ochat_ray.eval.answers import known_replies, next_ask, turn_of
from ochat_ray.eval.asking.asker import reply_of
from ochat_ray.eval.asking.exchange import Ask, Missing
from ochat_ray.eval.asking.ledger import Ledger
from ochat_ray.eval.conclude import conclude
from ochat_ray.eval.plan import Plan, make_plan
from ochat_ray.eval.ranking import ranking
from ochat_ray.eval.records import Question
from ochat_ray.eval.run import Natively, evaluate
from ochat_ray.exported import load_exported
from ochat_ray.progress import Progress
from ochat_ray.runtime import cluster
from ochat_ray.train.folders import Folders

EVEN = {"win_rate": 50.0, "percent": 100.0}
"""What the baseline has against itself."""


@contextmanager
def native_answers(config: ServeConfig, address: str | None) -> Iterator[Natively]:
    """What lets models that are folders answer; joins or starts a cluster when the first has to."""
    with ExitStack() as stack:
        started = False

        def answer(model: EndpointConfig, questions: Sequence[Question], ledger: Ledger) -> list[Missing]:
            nonlocal started
            if not any(_next(model, questions, ledger)):
                return []
            # A wrong folder is told at once: starting Ray takes many seconds.
            load_exported(str(model.folder))
            import ray

            if not started:
                stack.enter_context(cluster(address, min_cpus=config.engine.threads))
                started = True
            try:
                return answer_natively(model, questions, ledger, config)
            except ray.exceptions.RayError as error:  # others can still answer
                why = one_line(error)[:300]
                return [
                    Missing(model.name, turn_of(*one[:2]), why) for one in _next(model, questions, ledger)
                ]

        yield answer


def answer_natively(
    model: EndpointConfig, questions: Sequence[Question], ledger: Ledger, config: ServeConfig
) -> list[Missing]:
    """Let the model of a folder answer questions on the joined cluster, as far as the ledger does not know
    its replies. Returns what it did not answer.

    Raises CheckpointError for a folder that cannot be served.
    """
    assert model.folder is not None
    missing: dict[str, Missing] = {}
    turns = sum(len(question.turns) for question in questions)
    known = sum(len(known_replies(model, question, ledger)) for question in questions)
    with Progress(f"answers of {model.name}", total=turns, unit="turns", start=known) as progress:
        while wanted := list(_next(model, [q for q in questions if q.id not in missing], ledger)):
            for answered in infer(Path(model.folder), config, [ask.request for _, _, ask in wanted]):
                question, turn, ask = wanted[answered.place]
                if answered.response is None:
                    what = turn_of(question, turn)
                    missing[question.id] = Missing(model.name, what, answered.error, refused=True)
                else:
                    completion = ChatCompletion.model_validate(answered.response)
                    ledger.add(ask, reply_of(completion, 0.0, model, 0.0))
                    progress.update(1)
    return list(missing.values())


def exports_of(trained: Path, recipe: Recipe) -> dict[str, Path]:
    """What a training below `trained` exports, or will: the model of every epoch, or the last only."""
    folders = Folders(trained)
    if recipe.train.export.every_epoch:
        return {f"epoch {number}": folders.epoch(number) for number in range(1, recipe.train.epochs + 1)}
    return {recipe.name: folders.model}


def exports_plan(output: Path, exports: Mapping[str, Path], recipe: Recipe) -> Plan:
    """The evaluation of exports beside the models that the recipe names. Raises what `make_plan` raises."""
    models = [EndpointConfig(name=name, folder=str(folder)) for name, folder in exports.items()]
    every = [one.model_dump() for one in (*models, *recipe.eval.models)]
    return make_plan(output, recipe.eval.replace(models=every))


def best_export(planned: Plan, exports: Mapping[str, Path], config: ServeConfig) -> Path:
    """Evaluate what was planned on the joined cluster; the best of the exports. Needs Ray.

    Raises OchatError where somebody did not answer, or no export has the figure: what was said is kept.
    """

    def natively(model: EndpointConfig, questions: Sequence[Question], ledger: Ledger) -> list[Missing]:
        return answer_natively(model, questions, ledger, config)

    outcome = evaluate(planned, natively, ask_models=True, ask_judges=True)
    print(conclude(planned, outcome), flush=True)
    if outcome.failed:
        raise OchatError(f"{planned.output}: the evaluation is not complete, so that no export is the best")
    rows = ranking(outcome.judgments, planned.figure, planned.config.rule)
    found = {row.model: row.value for row in rows}
    if planned.config.baseline is not None and planned.figure in EVEN:
        found[planned.config.baseline] = EVEN[planned.figure]
    best = max((name for name in exports if name in found), key=lambda name: found[name], default=None)
    if best is None:
        raise OchatError(f"{planned.output}: no export has a {planned.figure}; look at eval.html there")
    return exports[best]


def _next(
    model: EndpointConfig, questions: Sequence[Question], ledger: Ledger
) -> Iterator[tuple[Question, int, Ask]]:
    """The next turn, from 1, of every conversation that is not whole."""
    for question in questions:
        replies = [reply.text for _, reply in known_replies(model, question, ledger)]
        if len(replies) < len(question.turns):
            yield question, len(replies) + 1, next_ask(model, question, replies)
