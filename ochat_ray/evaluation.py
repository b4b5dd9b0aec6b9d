"""Evaluation of models that are folders: they answer by batch inference, without a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from openai.types.chat import ChatCompletion

from ochat_ray.batch import infer
from ochat_ray.config import ServeConfig
from ochat_ray.config.eval import EndpointConfig
from ochat_ray.eval.answers import known_replies, next_ask
from ochat_ray.eval.asking.asker import reply_of
from ochat_ray.eval.asking.exchange import Ask, Missing
from ochat_ray.eval.asking.ledger import Ledger
from ochat_ray.eval.records import Question
from ochat_ray.eval.run import Natively
from ochat_ray.exported import load_exported
from ochat_ray.progress import Progress
from ochat_ray.runtime import cluster


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
            if not started:
                stack.enter_context(cluster(address, min_cpus=config.engine.threads))
                started = True
            return answer_natively(model, questions, ledger, config)

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
                    what = f"question {question.id}, turn {turn}"
                    missing[question.id] = Missing(model.name, what, answered.error)
                else:
                    ledger.add(ask, reply_of(ChatCompletion.model_validate(answered.response), 0.0))
                    progress.update(1)
    return list(missing.values())


def _next(
    model: EndpointConfig, questions: Sequence[Question], ledger: Ledger
) -> Iterator[tuple[Question, int, Ask]]:
    """The next turn, from 1, of every conversation that is not whole."""
    for question in questions:
        replies = [reply.text for _, reply in known_replies(model, question, ledger)]
        if len(replies) < len(question.turns):
            yield question, len(replies) + 1, next_ask(model, question, replies)
