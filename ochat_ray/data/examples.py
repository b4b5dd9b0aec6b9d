"""Messages that show what cleaning does: an answer as it was saved and as it is now."""

from __future__ import annotations

import re

from ochat_ray.conversation import Conversation
from ochat_ray.data.clean.conversation import repair
from ochat_ray.data.read.source import Source
from ochat_ray.data.report.schema import Example, Feature

SHORTEST, LONGEST = 200, 4000  # characters of HTML that are worth looking at
FEATURES: tuple[tuple[Feature, re.Pattern[str]], ...] = (
    ("table", re.compile("<table")),
    ("math", re.compile("katex")),
    ("code", re.compile("<pre")),
    ("noise", re.compile(r"\A\s*\d+ / \d+|Copy\d+ chars")),
    ("list", re.compile("<[uo]l")),
    ("text", re.compile("<p")),
)


def example_in(conversation: Conversation, source: Source) -> Example | None:
    """The answer of a conversation that shows the rarest feature; None where none is worth looking at."""
    turns = repair(source.turns)
    pairs = [
        (turn.value, message.content)
        for turn, message in zip(turns, conversation.messages, strict=True)
        if turn.html and SHORTEST <= len(turn.value) <= LONGEST
    ]
    for feature, pattern in FEATURES:
        for before, after in pairs:
            if pattern.search(before):
                return Example(
                    id=conversation.id,
                    source=conversation.source,
                    feature=feature,
                    before=before,
                    after=after,
                )
    return None


def chosen(examples: list[Example], each: int = 2) -> tuple[Example, ...]:
    """So many examples of each feature, the same whatever order they come in."""
    found: list[Example] = []
    for feature, _ in FEATURES:
        mine = sorted((e for e in examples if e.feature == feature), key=lambda e: (e.id, e.source))
        found += mine[:each]
    return tuple(found)
