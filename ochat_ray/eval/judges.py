"""Judgments: what judges are asked about which answers, and what they said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from ochat_ray.config.eval import EndpointConfig
from ochat_ray.eval import parse
from ochat_ray.eval.answers import Answers
from ochat_ray.eval.asking.asker import Asker, NotAnswered, Refused, each
from ochat_ray.eval.asking.exchange import Ask, Missing, Reply, request_of
from ochat_ray.eval.formats.alpaca import is_switched
from ochat_ray.eval.prompts import Prompt
from ochat_ray.eval.records import Answer, Judgment, Question
from ochat_ray.progress import Progress

Orders = Literal["both", "drawn", "model_first"]
JUDGMENT_TOKENS = {"scores": 300, "verdict": 200, "letter": 1, "grade": 150}
"""Of a judge's reply, about, before any is known; for estimates."""


@dataclass(frozen=True)
class Case:
    """One thing that a judge is asked: about an answer, or two in one order, to one turn of a question."""

    question: Question
    turn: int
    model: Answer
    baseline: Answer | None
    swapped: bool
    sample: int

    @property
    def what(self) -> str:
        against = f" against {self.baseline.model}" if self.baseline else ""
        order = ", the baseline first" if self.swapped else ""
        return (
            f"{self.model.model}{against}, question {self.question.id}, turn {self.turn}{order}, "
            f"sample {self.sample + 1}"
        )

    @property
    def alike(self) -> bool:
        """Both answers say the same, as far as they are shown."""
        return self.baseline is not None and self.baseline.turns[: self.turn] == self.model.turns[: self.turn]


def cases(
    questions: Sequence[Question],
    answers: Mapping[str, Answers],
    prompt: Prompt,
    *,
    baseline: str | None,
    orders: Orders,
    samples: int,
) -> Iterator[Case]:
    """All that a judge is asked: every model against the baseline, or where there is none every pair; every
    model by itself where the prompt grades. Questions that one side has not answered are left out."""
    for model, other in _matches(list(answers), baseline) if prompt.pairwise else _alone(answers):
        for question in questions:
            first = answers[model].get(question.id)
            second = answers[other].get(question.id) if other else None
            if first is None or (other and second is None):
                continue
            for turn in range(1, len(question.turns) + 1):
                for swapped in _orders(question, orders) if other else (False,):
                    for sample in range(samples):
                        yield Case(question, turn, first, second, swapped, sample)


def wanted(
    judge: EndpointConfig, prompt: Prompt, of: Iterable[Case], samples: int
) -> list[tuple[Case, Ask | None]]:
    """The cases with what a judge is asked of each; nothing where the answer is known.

    One letter cannot say that two answers are alike, so nobody is asked for it, as with AlpacaEval.
    """
    # Samples at a low temperature would be one sample (Wang et al. 2023 take 1).
    temperature = 1.0 if samples > 1 else prompt.temperature
    found: list[tuple[Case, Ask | None]] = []
    for case in of:
        shown = [case.model] if case.baseline is None else [case.model, case.baseline]
        if case.swapped:
            shown.reverse()
        if prompt.reads == "letter" and case.alike:
            found.append((case, None))
            continue
        request = request_of(
            judge,
            prompt.messages(case.question, case.turn, shown),
            temperature=temperature,
            top_logprobs=prompt.top_logprobs,
        )
        found.append((case, Ask(judge.name, request, case.sample)))
    return found


def judgment(judge: str, prompt: Prompt, case: Case, reply: Reply | None) -> Judgment:
    """What a reply says, with the scores turned back to whom they belong; without one both are alike."""
    value: float | None
    against: float | None = None
    if reply is None:
        value, against = 0.5, 0.5
    elif prompt.reads == "grade":
        value = None if _cut(reply) else parse.grade(reply.text)
    else:
        pair = _pair(prompt, reply)
        value, against = (None, None) if pair is None else reversed(pair) if case.swapped else pair
    return Judgment(
        question=case.question.id,
        category=case.question.category,
        model=case.model.model,
        baseline=case.baseline.model if case.baseline else None,
        judge=judge,
        value=value,
        against=against,
        turn=case.turn,
        swapped=case.swapped,
        sample=case.sample,
        text=reply.text if reply else "",
    )


async def ask_judge(asker: Asker, asked: Sequence[tuple[Case, Ask]]) -> list[Missing]:
    """Ask a judge about all cases; what it says is in the ledger. Returns what got no reply."""
    name = asker.endpoint.name
    missing: list[Missing] = []
    with Progress(f"judgments of {name}", total=len(asked), unit="judgments") as progress:

        async def judge(one: tuple[Case, Ask]) -> None:
            case, ask = one
            try:
                await asker.ask(ask)
            except NotAnswered as error:
                missing.append(Missing(name, case.what, str(error), isinstance(error, Refused)))
            progress.update(1, f"{len(missing):,} missing" if missing else "")

        await each(asked, judge, asker.endpoint.concurrency)
    return missing


def _pair(prompt: Prompt, reply: Reply) -> parse.Pair | None:
    if prompt.reads == "letter":
        return parse.letter(reply.text, reply.top_logprobs)
    if _cut(reply):
        return None
    return parse.scores(reply.text) if prompt.reads == "scores" else parse.verdict(reply.text)


def _cut(reply: Reply) -> bool:
    """Whether it ends before its verdict, which comes last: what it says until then is evidence."""
    return reply.finish_reason == "length"


def _matches(models: list[str], baseline: str | None) -> list[tuple[str, str | None]]:
    if baseline is None:
        return [(first, second) for first, second in combinations(models, 2)]
    return [(model, baseline) for model in models if model != baseline]


def _alone(models: Mapping[str, Answers]) -> list[tuple[str, str | None]]:
    return [(model, None) for model in models]


def _orders(question: Question, orders: Orders) -> tuple[bool, ...]:
    if orders == "both":
        return False, True
    if orders == "model_first":
        return (False,)
    return (not is_switched(question.turns[0]),)  # as AlpacaEval draws
