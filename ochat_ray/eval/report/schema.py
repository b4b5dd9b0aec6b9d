"""What a report of an evaluation says, and what `eval.json` holds."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field

from ochat_ray.eval.statistics.bootstrap import Interval
from ochat_ray.eval.statistics.pairs import Counts, Rule
from ochat_ray.strict import AnyText as Text
from ochat_ray.strict import StrictModel


def finite(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: None."""
    return value if value is not None and math.isfinite(value) else None


Count = Annotated[int, Field(ge=0)]
Known = Annotated[float | None, BeforeValidator(finite)]
"""A number, None where there is none."""
Orders = Literal["model_first", "baseline_first", "both"]


class Figure(StrictModel):
    """A figure and its 95 % interval over questions; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, interval: Interval) -> Self:
        return cls(value=finite(interval.value), low=finite(interval.low), high=finite(interval.high))


class Tally(StrictModel):
    """Questions won, tied and lost."""

    wins: Count
    ties: Count
    losses: Count

    @classmethod
    def of(cls, counts: Counts) -> Self:
        return cls(wins=counts.wins, ties=counts.ties, losses=counts.losses)

    @property
    def total(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def win_rate(self) -> float | None:
        """(wins + ties / 2) / all, percent."""
        return 100 * (self.wins + self.ties / 2) / self.total if self.total else None


class Bias(StrictModel):
    """How much the order of the answers decides."""

    model_first: float | None
    """Win rate in the order that shows the model first, percent; None where nothing was judged so."""
    baseline_first: float | None
    conflicts: Count
    """Questions whose winner differs between the orders."""
    conflict_rate: Figure | None
    """Of questions judged in both orders, percent."""
    first_preferred: Figure | None
    """Of judgments that name a winner, those that name the answer shown first, percent: 50 without bias."""
    bpde: float
    """Mean entropy of the outcomes of a question, nats."""


class Calibrated(StrictModel):
    """The figures from a part of the judgments: the first `samples` of each request, in some orders."""

    orders: Orders
    samples: Count
    win_rate: Figure
    percent: Figure | None


class PairRow(StrictModel):
    """One question and turn; scores are means over all that could be understood."""

    question: Text
    turn: Count
    category: Text
    value: float
    against: float
    outcome: float
    """1 win, 0.5 tie, 0 loss of the model."""
    model_first: float | None
    """The outcome in the order that shows the model first."""
    baseline_first: float | None
    bpde: float
    characters: Count | None
    """Of the model's answer to this turn; None where it was not given."""
    baseline_characters: Count | None


class PairGroup(StrictModel):
    """A model against a baseline before one judge. Rates are percent."""

    model: Text
    baseline: Text
    judge: Text
    rule: Rule
    scored: bool
    """The judge gave scores; else verdicts, of which `value` is 1, 0.5 or 0 or a share between."""
    questions: Count
    judgments: Count
    unparsed: Count
    tally: Tally
    win_rate: Figure
    """(wins + ties / 2) / all."""
    percent: Figure | None
    """100 x the sum of the model's mean scores / the baseline's; None for verdicts."""
    preference: Figure | None
    """100 x the mean share of the model, where verdicts are shares (AlpacaEval 2)."""
    length_controlled: Figure | None
    """What the win rate, or the preference, would be were the answers as long as the baseline's (Dubois et
    al. 2024), by length and model only; None where not all answers are known, and where nearly all are longer
    or shorter."""
    bias: Bias
    calibration: tuple[Calibrated, ...]
    """From few judgments to all; empty where there is one order and sample only."""
    by_category: dict[Text, Tally]
    rows: tuple[PairRow, ...]
    for_people: tuple[PairRow, ...]
    """The questions the judge is least of one mind about, greatest entropy first."""


class GradeRow(StrictModel):
    """The mean grade of a question over turns and samples."""

    question: Text
    category: Text
    grade: float


class GradeGroup(StrictModel):
    """A model before one judge: grades 1 to 10."""

    model: Text
    judge: Text
    questions: Count
    judgments: Count
    unparsed: Count
    average: Figure
    by_turn: dict[int, Figure]
    by_category: dict[Text, Figure]
    rows: tuple[GradeRow, ...]


class Unread(StrictModel):
    """Judgments of which nothing can be said: no reply, or no question in full, was understood."""

    model: Text
    baseline: Text | None
    judge: Text
    judgments: Count
    unparsed: Count


class JudgeAgreement(StrictModel):
    """Two judges on the same answers, compared question by question: win, tie or loss."""

    first: Text
    second: Text
    compared: Count
    """Questions and turns of all models that both judged."""
    same: float
    """Of these, with the same outcome, percent."""
    kappa: Known
    """Cohen's; None where everybody says the same one thing."""


class Lengths(StrictModel):
    """Characters of a model's answers, all turns of one together."""

    model: Text
    answers: Count
    mean: float
    median: float


class Said(StrictModel):
    """One reply of a judge."""

    judge: Text
    baseline: Text | None
    turn: Count
    swapped: bool
    sample: Count
    value: float | None
    against: float | None
    text: Text


class Shown(StrictModel):
    """A model's answer, and what judges said of it."""

    model: Text
    turns: tuple[Text, ...]
    said: tuple[Said, ...]


class SideBySide(StrictModel):
    """A question with all answers."""

    question: Text
    category: Text
    turns: tuple[Text, ...]
    answers: tuple[Shown, ...]


class Published(StrictModel):
    """Figures that others published, not measured here."""

    title: Text
    baseline: Text
    judge: Text
    figure: Literal["win_rate", "percent"]
    """Which figure of ours the first column compares with."""
    columns: tuple[Text, ...]
    rows: dict[Text, tuple[float, ...]]
    """A figure a column, by model."""


class Given(StrictModel):
    """What the report is told; made of any object that has these fields."""

    model_config = ConfigDict(from_attributes=True)


class Missing(Given):
    """Something that was asked of a model or judge and not answered, and why."""

    name: Text
    what: Text
    why: Text


class Bill(Given):
    """What the replies of an endpoint took."""

    name: Text
    replies: Count
    input_tokens: Count
    output_tokens: Count
    seconds: float
    """Of all replies added up; many came at a time."""
    cost: float
    """In the currency of the endpoint's prices."""
    priced: bool


class Task(Given):
    """A result of an academic benchmark."""

    model: Text
    task: Text
    metric: Text
    value: float
    standard_error: Known = None


class Rating(Given):
    """A model's Bradley-Terry rating, points, with its 95 % interval; None for a bound that the games do not
    give."""

    model: Text
    rating: float
    low: Known
    high: Known
    games: Count


class Report(StrictModel):
    """An evaluation."""

    title: Text
    about: Text = ""
    """Which questions were asked, and how."""
    questions: Count
    judgments: Count
    unparsed: Count
    pairs: tuple[PairGroup, ...] = ()
    grades: tuple[GradeGroup, ...] = ()
    unread: tuple[Unread, ...] = ()
    agreements: tuple[JudgeAgreement, ...] = ()
    lengths: tuple[Lengths, ...] = ()
    beside: tuple[SideBySide, ...] = ()
    """At most some hundreds of the questions, in order."""
    published: tuple[Published, ...] = ()
    ratings: tuple[Rating, ...] = ()
    tasks: tuple[Task, ...] = ()
    missing: tuple[Missing, ...] = ()
    bills: tuple[Bill, ...] = ()
