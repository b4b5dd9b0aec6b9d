"""How faithful turns are to the Markdown that their page was made from, as tests and the benchmark count it.

Code must be the same byte for byte, people's text too. Other text is compared without what Markdown writes in
more ways than one: its marks, and white space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

FENCED = re.compile(
    r"^(?P<indent>[ \t>]*(?:[-*+] +|\d+[.)] +)?)(?P<fence>`{3,})(?P<language>[^\n`]*)\n"
    r"(?P<code>.*?)(?:^[ \t>]*(?P=fence)`*[ ]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
MARKERS = re.compile(r"^[ \t>]*(?:[-*+]|\d+[.)])(?= |$)|^=+$", re.MULTILINE)
# What the maker of the pages with known sources put into some answers, to be found by the filter.
PLANTED = "As an AI model trained by OpenAI, I cannot browse."
MARKS = re.compile(r"<br>|[\s*_#>|`$\\<()\[\]!:+=~-]+")


class Turn(NamedTuple):
    """One turn: `role` is user or assistant."""

    role: str
    text: str


class CodeBlock(NamedTuple):
    """A fenced code block, dedented by what stands before its fence, without line feeds at its end."""

    language: str
    code: str


@dataclass
class Share:
    """How many of a kind there are, and how many of them are right."""

    right: int = 0
    all: int = 0

    def add(self, right: int, all: int = 1) -> None:
        """Count `right` of `all` more."""
        self.right += right
        self.all += all

    def __str__(self) -> str:
        return f"{self.right / self.all:.2%}" if self.all else "-"


class Fidelity:
    """Counts over conversations: those understood, code blocks, their languages, answers, people's texts."""

    def __init__(self) -> None:
        self.understood = Share()
        self.code, self.languages, self.text, self.people = Share(), Share(), Share(), Share()

    def shares(self) -> tuple[Share, ...]:
        """All counts."""
        return self.understood, self.code, self.languages, self.text, self.people

    def add(self, found: Sequence[Turn], truth: Sequence[Turn]) -> None:
        """Compare the turns from the first of a person to the last answer."""
        found, truth = trimmed(found), trimmed(truth)
        understood = [turn.role for turn in found] == [turn.role for turn in truth]
        self.understood.add(understood)
        if not understood:
            return
        for ours, theirs in zip(found, truth, strict=True):
            if theirs.role == "user":
                self.people.add(ours.text == theirs.text)
            elif theirs.role == "assistant":
                self._add_answer(ours.text, theirs.text)

    def _add_answer(self, found: str, truth: str) -> None:
        ours, theirs = code_blocks(found), code_blocks(truth)
        pairs = list(zip(ours, theirs, strict=True)) if len(ours) == len(theirs) else []
        self.code.add(sum(a.code == b.code for a, b in pairs), len(theirs))
        # Where the author named none, the page shows what the highlighter took it for.
        self.languages.add(sum(b.language in ("", a.language) for a, b in pairs), len(theirs))
        self.text.add(words(found) == words(truth))


def trimmed(turns: Sequence[Turn]) -> list[Turn]:
    """Turns from the first of a person to the last answer."""
    at = [number for number, turn in enumerate(turns) if turn.role == "user"]
    end = [number for number, turn in enumerate(turns, 1) if turn.role == "assistant"]
    return list(turns[at[0] : end[-1]]) if at and end else []


def code_blocks(markdown: str) -> list[CodeBlock]:
    """The fenced code blocks of a text."""
    blocks = []
    for match in FENCED.finditer(markdown):
        indent = len(match["indent"])
        lines = [
            line[indent:] if not line[:indent].strip(" \t>") else line for line in match["code"].split("\n")
        ]
        blocks.append(CodeBlock(match["language"].strip().lower(), "\n".join(lines).rstrip("\n")))
    return blocks


def words(markdown: str) -> str:
    """Text without code, marks and white space."""
    return MARKS.sub("", MARKERS.sub("", FENCED.sub("\n", markdown).replace(PLANTED, "")))
