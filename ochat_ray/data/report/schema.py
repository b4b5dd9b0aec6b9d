"""What a report says: the contract between the pipeline and the page, and what `report.json` holds."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ochat_ray.data.report.histogram import Histogram
from ochat_ray.strict import AnyText as Text
from ochat_ray.strict import StrictModel

START_CHARS = 240
"""Characters of a text that `start` leaves."""

Feature = Literal["code", "table", "math", "list", "noise", "text"]


def start(text: str) -> str:
    """The first `START_CHARS` characters of a text, with an ellipsis where there are more."""
    text = text.strip()
    return text if len(text) <= START_CHARS else text[: START_CHARS - 1].rstrip() + "\u2026"


Count = Annotated[int, Field(ge=0)]
Unit = Annotated[float, Field(ge=0, le=1)]


class Stage(StrictModel):
    """A step of the pipeline: what arrived behind it, and what it turned away."""

    stage: str
    """What is true of the conversations that are left, e.g. `distinct`; the first is what was read."""
    count: Count
    """Conversations that are left."""
    dropped: dict[str, Count] = Field(default_factory=dict)
    """Conversations that the stage before still had, by the reason why they are no longer there."""


class SplitTokens(StrictModel):
    """What was written for one side of the split."""

    conversations: Count
    """Conversations with at least one row."""
    rows: Count
    """Rows of tokens; more than conversations where long ones were split."""
    tokens: Count
    """Tokens in all rows."""
    target_tokens: Count
    """Tokens with a loss weight above 0: what is learnt."""


class LostTokens(StrictModel):
    """What fell to the context limit."""

    conversations: Count
    """Conversations that lost at least one token."""
    tokens: Count
    """Tokens that are in no row."""
    target_tokens: Count
    """Those with a loss weight above 0 among them."""


class Tokens(StrictModel):
    """The token rows of one model type."""

    model_type: str
    """Its name."""
    context: Annotated[int, Field(gt=0)]
    """Longest row, in tokens."""
    long: Literal["truncate", "split", "drop"]
    """What was done with longer conversations."""
    lengths: Histogram
    """Tokens of each conversation, before anything was cut."""
    train: SplitTokens
    """The side to train on."""
    eval: SplitTokens
    """The side held out."""
    lost: LostTokens
    """What is on neither side because of `context`."""


class ModelCount(StrictModel):
    """Conversations by the model that answered."""

    name: Text | None
    """Its label in the source, None where the source says nothing."""
    read: Count
    """Conversations understood."""
    kept: Count
    """Conversations kept."""


class LanguageCount(StrictModel):
    """Conversations by language."""

    code: str
    """ISO 639 code; `und` for text in no language."""
    read: Count
    """Conversations understood."""
    kept: Count
    """Conversations kept."""


class Member(StrictModel):
    """A conversation of a cluster of near-duplicates."""

    id: Text
    """Its id."""
    model: Text | None
    """Label of the model that answered."""
    chars: Count
    """Characters of all its messages."""
    kept: bool
    """Whether it is the one, or one of those, that stayed."""
    text: Text
    """How it begins, see `start`."""


class Cluster(StrictModel):
    """Conversations that differ in little."""

    size: Annotated[int, Field(ge=2)]
    """Conversations in it."""
    members: tuple[Member, ...]
    """All of them, or the first few."""


class NearDuplicates(StrictModel):
    """What the search for near-duplicates found."""

    action: Literal["drop", "group"]
    """Whether all but one of a cluster were dropped, or all kept on one side of the split."""
    clusters: Count
    """Clusters of two and more."""
    conversations: Count
    """Conversations in them."""
    sizes: dict[int, Count]
    """Clusters by how many conversations they have."""
    largest: tuple[Cluster, ...]
    """Some clusters to look at, the largest first."""


class Example(StrictModel):
    """A message as it was saved and as it is now."""

    id: Text
    """Id of its conversation."""
    source: Text
    """Where it came from, relative to the input."""
    feature: Feature
    """What it is an example of."""
    before: Text
    """As saved, HTML."""
    after: Text
    """As kept, Markdown."""


class Point(StrictModel):
    """A conversation on the map."""

    x: Unit
    """Across, from the left."""
    y: Unit
    """Upwards, from the bottom."""
    id: Text
    """Its id."""
    model: Text | None
    """Label of the model that answered."""
    language: str | None
    """ISO 639 code."""
    topic: Count
    """Index in `Map.topics`."""
    question: Text
    """How the first question begins, see `start`."""
    answer: Text
    """How the first answer begins, see `start`."""


class Map(StrictModel):
    """Conversations laid out by what they are about, see `map.place`."""

    of: Count
    """Conversations kept, of which the points are all or a sample."""
    points: tuple[Point, ...]
    """The conversations shown."""
    topics: tuple[Text, ...]
    """Names of the topics: telling words joined by ", "."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        wrong = next((point for point in self.points if point.topic >= len(self.topics)), None)
        if wrong is not None:
            raise ValueError(f"point {wrong.id}: topic {wrong.topic}, but there are {len(self.topics)}")
        return self


class Report(StrictModel):
    """One preparation. Holds no time of day and no path of the machine: equal runs give equal files."""

    title: Text
    """Heading of the page."""
    input: Text
    """What was read, by a name that means something on any machine."""
    recipe: str
    """Name of the recipe."""
    settings: Text = ""
    """The recipe's data settings, as YAML, to be shown as they are."""
    versions: dict[str, str]
    """Versions of what made this, by package."""
    funnel: tuple[Stage, ...]
    """From read to kept, in order; empty where nothing was read."""
    reasons: dict[str, str] = Field(default_factory=dict)
    """What the reasons for turning away mean, a sentence each, where known."""
    messages: Histogram
    """Messages of each conversation kept."""
    chars: Histogram
    """Characters of each conversation kept."""
    tokens: tuple[Tokens, ...]
    """Token rows, by model type."""
    models: tuple[ModelCount, ...]
    """Conversations by model, in any order."""
    languages: tuple[LanguageCount, ...]
    """Conversations by language, in any order; empty where nobody looked."""
    near_duplicates: NearDuplicates | None
    """None where nobody looked."""
    examples: tuple[Example, ...]
    """Messages before and after."""
    map: Map | None
    """None where none was drawn."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for before, stage in pairwise(self.funnel):
            if before.count - sum(stage.dropped.values()) != stage.count:
                raise ValueError(f"funnel: `{stage.stage}` is not what was before less those dropped")
        if self.funnel and self.funnel[0].dropped:
            raise ValueError("funnel: nothing can be dropped before it is read")
        return self

    @property
    def read(self) -> int:
        """Conversations and documents that went in."""
        return self.funnel[0].count if self.funnel else 0

    @property
    def kept(self) -> int:
        """Conversations that came out."""
        return self.funnel[-1].count if self.funnel else 0

    @property
    def rejected(self) -> dict[str, int]:
        """What was turned away, by reason, the most frequent first. With `kept` it adds up to `read`."""
        total: Counter[str] = Counter()
        for stage in self.funnel:
            total.update(stage.dropped)
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def to_json(report: Report) -> bytes:
    """The bytes of `report.json`: the same for equal reports, and `Report.model_validate_json` reads them."""
    data = report.model_dump(mode="json")
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
    return text.encode() + b"\n"
