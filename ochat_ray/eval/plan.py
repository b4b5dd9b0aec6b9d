"""What is to be evaluated, all of it checked before anything is asked or paid for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ochat_ray.client import NO_KEY, api_key
from ochat_ray.config.eval import EndpointConfig, EvalConfig
from ochat_ray.errors import ConfigError, DataError
from ochat_ray.eval.answers import Answers, read_answers
from ochat_ray.eval.formats.judgments import read_judgments
from ochat_ray.eval.judges import Case, cases
from ochat_ray.eval.prompts import Prompt, load_prompt
from ochat_ray.eval.questions import read_questions
from ochat_ray.eval.ranking import Name
from ochat_ray.eval.records import Judgment, Question
from ochat_ray.eval.report.reference import published


@dataclass(frozen=True)
class Plan:
    """Questions, the judges' prompt, and answers (by model) and judgments that were there already."""

    output: Path
    config: EvalConfig
    questions: list[Question]
    prompt: Prompt
    given: dict[str, Answers]
    given_judgments: list[Judgment]

    @property
    def ledger(self) -> Path:
        return Path(self.config.cache) if self.config.cache else self.output / "exchanges.jsonl"

    @property
    def figure(self) -> Name:
        """By what the best model is named."""
        if self.config.figure is not None:
            return self.config.figure
        given = {one.baseline for one in self.given_judgments}
        if given == {None} or not (given or self.prompt.pairwise):
            return "grade"
        return "win_rate" if self.config.baseline or len(given) == 1 else "rating"

    def cases(self, answers: Mapping[str, Answers]) -> Iterator[Case]:
        """What every judge is asked about these answers."""
        config = self.config
        return cases(
            self.questions,
            answers,
            self.prompt,
            baseline=config.baseline,
            orders=config.orders,
            samples=config.samples,
        )


def make_plan(output: Path, config: EvalConfig) -> Plan:
    """Read questions, prompt and given answers.

    Raises ConfigError or DataError naming file, line or key for what does not hold together.
    """
    questions = read_questions(Path(config.questions) if config.questions else None, config.limit)
    prompt = load_prompt(config.prompt)
    given = _given(config)
    for model, answers in given.items():
        _check_answers(model, answers, questions, config.questions or "the shipped ones")
    categories = {question.id: question.category for question in questions}
    judgments = [one for file in config.judgments for one in read_judgments(Path(file), categories)]
    _check_names([*given, *(one.name for one in config.models)], config, prompt, judgments)
    _check_figure(config, prompt, judgments)
    published(config.references)
    return Plan(output, config, questions, prompt, given, judgments)


def require_keys(ends: Iterable[EndpointConfig]) -> None:
    """Raises ConfigError for an endpoint elsewhere whose key is not there, before anything is asked."""
    for end in ends:
        if end.folder is None and end.url.startswith("https:") and api_key(end.key_env) == NO_KEY:
            raise ConfigError(
                f"{end.name}: the environment variable {end.key_env} is not set; put the key for {end.url} "
                "into it, or name another in key_env"
            )


def _given(config: EvalConfig) -> dict[str, Answers]:
    given: dict[str, Answers] = {}
    for file in config.answers:
        for model, found in read_answers(Path(file)).items():
            if model in given:
                raise DataError(f"{file}: answers of {model} are in another file too; give one of them")
            given[model] = found
    return given


def _check_names(names: list[str], config: EvalConfig, prompt: Prompt, judgments: list[Judgment]) -> None:
    if not names and not judgments:
        raise ConfigError(
            "nothing to evaluate: name models in eval.models, e.g. eval.models='[{name: openchat}]', or "
            "files in eval.answers or eval.judgments"
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(
            f"eval.models: {twice} has answers in a file too; give it another name, or drop one"
        )
    judged = {name for one in judgments for name in (one.model, one.baseline) if name is not None}
    if config.baseline is not None and config.baseline not in {*names, *judged}:
        there = ", ".join([*names, *sorted(judged - {*names})])
        raise ConfigError(f"eval.baseline = {config.baseline!r}: no such model; there are {there}")
    if config.judges and prompt.pairwise and len(names) < 2:
        raise ConfigError(
            f"eval.prompt = {config.prompt!r} compares two answers, and there "
            f"{f'is one model, {names[0]}' if names else 'are none'}; give others in eval.models or "
            "eval.answers, or grade single answers with eval.prompt=grade"
        )


def _check_figure(config: EvalConfig, prompt: Prompt, judgments: list[Judgment]) -> None:
    """Whether there can be such a figure at all."""
    if config.figure is None:
        return
    compared = prompt.pairwise if config.judges else any(one.baseline is not None for one in judgments)
    graded = not prompt.pairwise if config.judges else any(one.baseline is None for one in judgments)
    if not (graded if config.figure == "grade" else compared):
        what, known = ("single answers", "grade") if graded else ("comparisons", "win_rate, percent, rating")
        raise ConfigError(
            f"eval.figure = {config.figure!r}: there is no such figure of {what}; choose from {known}, or "
            "leave it out"
        )
    if config.figure in ("win_rate", "percent") and config.judges and config.baseline is None:
        raise ConfigError(f"eval.figure = {config.figure!r} is against a baseline; name one in eval.baseline")


def _check_answers(model: str, answers: Answers, questions: list[Question], where: str) -> None:
    if not any(question.id in answers for question in questions):
        raise DataError(
            f"answers of {model} are to other questions ({', '.join(list(answers)[:3])} ...) than {where}; "
            "give the file of their questions in eval.questions"
        )
    for question in questions:
        answer = answers.get(question.id)
        if answer is not None and len(answer.turns) != len(question.turns):
            raise DataError(
                f"answers of {model}: question {question.id} has {len(question.turns)} turns, its answer "
                f"{len(answer.turns)}; they are of another benchmark"
            )
