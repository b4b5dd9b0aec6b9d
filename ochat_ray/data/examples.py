"""Messages that show what cleaning does: an answer as it was saved and as it is now."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ochat_ray.config.filters import PersonalDataConfig
from ochat_ray.conversation import Conversation
from ochat_ray.data.clean.conversation import repair
from ochat_ray.data.clean.markdown import to_markdown
from ochat_ray.data.filters.personal import find
from ochat_ray.data.read.source import Source
from ochat_ray.data.report.schema import Example, Feature
from ochat_ray.data.split import place_of

AMONG = 200  # conversations, about, that are looked through for examples
EACH = 2  # of a feature
SHORTEST, LONGEST = 200, 4000  # characters of HTML that are worth looking at
FEATURES: tuple[tuple[Feature, re.Pattern[str]], ...] = (
    ("table", re.compile("<table")),
    ("math", re.compile("katex")),
    ("code", re.compile("<pre")),
    ("noise", re.compile(r"\A\s*\d+ / \d+|Copy\d+ chars")),
    ("list", re.compile("<[uo]l")),
    ("text", re.compile("<p")),
)


def is_among(id: str, documents: int) -> bool:
    """Whether a conversation is looked through, of so many documents; of fewer, it is then too."""
    return place_of(id) * documents < AMONG


def example_in(conversation: Conversation, source: Source, personal: PersonalDataConfig) -> Example | None:
    """The answer of a conversation that shows the rarest feature; None where none is worth looking at."""
    turns = repair(source.turns)
    pairs = [
        (turn.value, message.content)
        for turn, message in zip(turns, conversation.messages, strict=True)
        if turn.html and SHORTEST <= len(turn.value) <= LONGEST
    ]
    if personal.action == "mask":  # nobody may read before it what is masked after it
        pairs = [(before, after) for before, after in pairs if _is_anybodys(before, after, personal)]
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


def chosen(examples: Iterable[Example]) -> tuple[Example, ...]:
    """So many examples of each feature, the same whatever order they come in, and of what else there is.

    Those of all examples are those of the ones that are chosen from each part of them.
    """
    ordered = sorted(examples, key=lambda e: (place_of(e.id), e.id, e.source, e.before, e.after))
    return tuple(
        example
        for feature, _ in FEATURES
        for example in [one for one in ordered if one.feature == feature][:EACH]
    )


def _is_anybodys(before: str, after: str, personal: PersonalDataConfig) -> bool:
    return not find(before, personal.kinds) and to_markdown(before) == after
