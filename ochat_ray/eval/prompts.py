"""What judges are asked: templates as data, filled in one pass, so that nothing in an answer is a field."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ochat_ray.errors import ConfigError
from ochat_ray.eval.records import Answer, Question
from ochat_ray.manifest import digest
from ochat_ray.strict import StrictModel, parse, read_yaml

OWN = Path(__file__).parent / "prompts.yaml"
FIELD = re.compile(r"\{(\w+)\}")
CODING, MATH = ("coding",), ("math", "fermi", "reasoning")
"""Categories of questions that the criteria `coding` and `math` are for."""
MARK = 10  # hex digits


class Criteria(StrictModel):
    """What counts, by the kind of question."""

    default: str
    coding: str | None = None
    math: str | None = None

    def of(self, category: str) -> str:
        special = self.coding if category in CODING else self.math if category in MATH else None
        return special or self.default


class Prompt(StrictModel):
    """What a judge is asked, and how its reply is read."""

    reads: Literal["scores", "verdict", "letter", "grade"]
    """Two scores, [[A]] [[B]] or [[C]], the letter m or M (of two answers), [[grade]] (of one)."""
    temperature: float = Field(ge=0, le=2)
    top_logprobs: int = Field(0, ge=0, le=20)
    """Of the first token; with them a letter becomes a share between 0 and 1."""
    system: str
    user: str
    criteria: Criteria
    with_reference: str = ""
    """What {reference} becomes where the question has a right answer."""
    of_turn: str = ""
    """What {of_turn} becomes from the second turn on."""

    @property
    def pairwise(self) -> bool:
        return self.reads != "grade"

    @model_validator(mode="after")
    def _check(self) -> Self:
        needed = {"question", "answer_1", "answer_2"} if self.pairwise else {"question", "answer"}
        known = {*needed, "criteria", "reference", "of_turn", "mark"}
        found = set(FIELD.findall(self.user))
        if not needed <= found <= known:
            wrong = sorted(needed - found) or sorted(found - known)
            raise ValueError(
                f"user: {{{wrong[0]}}} is {'missing' if needed - found else 'unknown'}; "
                f"fields are {', '.join(f'{{{name}}}' for name in sorted(known))}"
            )
        return self

    def messages(self, question: Question, turn: int, answers: Sequence[Answer]) -> list[dict[str, str]]:
        """The request about one answer, or two in the order in which they are shown, to a turn from 1."""
        several = turn > 1
        values = {
            "question": "\n\n".join(question.turns[:turn]),
            "reference": "\n\n".join(question.reference[:turn]),
        }
        for number, answer in enumerate(answers, 1):
            name = f"answer_{number}" if self.pairwise else "answer"
            values[name] = _conversation(question, turn, answer) if several else answer.turns[0]
        # No answer can know the mark of its own request, and so none can close the tags around it.
        values["mark"] = digest(values)[:MARK]
        if values["reference"]:
            values["reference"] = _fill(self.with_reference, values)
        values["criteria"] = self.criteria.of(question.category)
        values["of_turn"] = self.of_turn if several else ""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": _fill(self.user, values)},
        ]


def prompt_names() -> list[str]:
    """Names of the shipped prompts."""
    return list(read_yaml(OWN)[0])


def load_prompt(name_or_file: str) -> Prompt:
    """A shipped prompt by name, or one's own by the path of a YAML with the same keys.

    Raises ConfigError with file, line, key and value.
    """
    if name_or_file.endswith((".yaml", ".yml")):
        path = Path(name_or_file)
        data, lines = read_yaml(path)
        return parse(Prompt, data, str(path), lines)
    shipped: dict[str, Any] = read_yaml(OWN)[0]
    if name_or_file not in shipped:
        near = difflib.get_close_matches(name_or_file, shipped, n=1)
        hint = f"did you mean `{near[0]}`? Known: " if near else "known: "
        raise ConfigError(
            f"eval.prompt: unknown prompt `{name_or_file}`: {hint}{', '.join(shipped)}; or give the path of "
            "a YAML"
        )
    return parse(Prompt, shipped[name_or_file], str(OWN))


def _conversation(question: Question, turn: int, answer: Answer) -> str:
    parts = []
    for asked, said in zip(question.turns[:turn], answer.turns[:turn], strict=True):
        parts += [f"[User]\n{asked}", f"[Assistant]\n{said}"]
    return "\n\n".join(parts)


def _fill(template: str, values: Mapping[str, str]) -> str:
    return FIELD.sub(lambda found: values[found[1]], template)
