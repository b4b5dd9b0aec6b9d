"""The shipped conversations, as their YAML files hold them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from ochat_ray.strict import StrictModel, parse, read_yaml

M = TypeVar("M", bound=StrictModel)
FILES = ("facts", "code", "layout", "languages", "talk")


class Entry(StrictModel):
    """One conversation in Markdown: the human's turns and the assistant's, in alternation."""

    name: str
    ask: bool = False
    """Whether its first exchange is one of the questions to test a trained model with."""
    turns: tuple[str, ...] = Field(min_length=2)
    follow: tuple[str, ...] = ()
    """Turns that a second page goes on with, so that the first exchange is taught twice."""


class Series(StrictModel):
    """Conversations that differ in a few words: `{0}`, `{1}` ... stand for the cells of a row."""

    name: str
    human: str
    gpt: str
    rows: tuple[tuple[str, ...], ...]

    def entries(self) -> list[Entry]:
        """A conversation for each row."""
        return [
            Entry(name=f"{self.name}-{row[0]}", turns=(self.human.format(*row), self.gpt.format(*row)))
            for row in self.rows
        ]


class Good(StrictModel):
    """A file of conversations to keep as they are."""

    conversations: tuple[Entry, ...]


class Funnel(StrictModel):
    """What a clean run must mend or turn away."""

    noisy: tuple[Entry, ...]
    aliases: tuple[Entry, ...]
    repaired: tuple[Entry, ...]
    blocked: tuple[Entry, ...]
    series: tuple[Series, ...]


@cache
def good() -> tuple[Entry, ...]:
    """Every conversation to keep as it is, in the order of the files."""
    return tuple(entry for name in FILES for entry in _load(Good, name).conversations)


@cache
def funnel() -> Funnel:
    """The conversations of the other pages."""
    return _load(Funnel, "funnel")


def _load(model: type[M], name: str) -> M:
    path = Path(__file__).with_name(f"{name}.yaml")
    data, lines = read_yaml(path)
    return parse(model, data, str(path), lines)
