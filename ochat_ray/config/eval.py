"""Who answers, who judges, and what it may cost."""

from __future__ import annotations

from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from ochat_ray.strict import StrictModel, absolute


class EndpointConfig(StrictModel):
    """A model behind an OpenAI-compatible endpoint."""

    name: str = Field(min_length=1, max_length=60)
    """How files and the report call it; another model needs another name."""
    url: str = "http://127.0.0.1:18888/v1"
    """Base URL."""
    folder: str | None = None
    """Of models: folder of an exported model that answers without a server, as batch inference on the Ray
    cluster, instead of `url`."""
    model: str | None = None
    """How the endpoint calls it; null for the same as `name`."""
    key_env: str = "OPENAI_API_KEY"
    """Environment variable with the key; endpoints without keys need none."""
    temperature: float | None = Field(None, ge=0, le=2)
    """Of its replies; null for what the question's category, or the judge's prompt, asks for."""
    max_tokens: int = Field(1024, gt=0)
    """Longest reply, tokens."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further parameters of every request, e.g. {condition: Math Correct}."""
    concurrency: int = Field(16, gt=0)
    """Requests at a time."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Requests that are begun in a minute at most, those that are sent again included; null for no limit."""
    timeout_s: float = Field(120.0, gt=0)
    """Longest time of one request, seconds."""
    retries: int = Field(5, ge=0)
    """How often a request that fails (429, 5xx, time-out, cut off) is sent again, no sooner than Retry-After
    says."""
    input_price: float = Field(0.0, ge=0)
    """Price of a million tokens of prompts, in your currency."""
    output_price: float = Field(0.0, ge=0)
    """Price of a million tokens of replies, in your currency."""

    @property
    def priced(self) -> bool:
        return self.input_price > 0 or self.output_price > 0

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("expected a base URL such as http://127.0.0.1:18888/v1, without a password")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.folder is not None and self.url != type(self).model_fields["url"].default:
            raise ValueError("folder and url are two ways to the model; give one of them")
        return self

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, value: dict[str, Any]) -> dict[str, Any]:
        own = {"model", "messages", "temperature", "max_tokens", "max_completion_tokens", "stream", "n"}
        own |= {"logprobs", "top_logprobs", "extra_body", "extra_headers", "extra_query", "timeout"}
        if taken := sorted(own & value.keys()):
            raise ValueError(
                f"{', '.join(taken)} of a request is set by the evaluation; leave it out of extra"
            )
        return value


class EvalConfig(StrictModel):
    """An evaluation: models answer questions, judges compare or grade the answers."""

    questions: str | None = None
    """File of questions: Vicuna-bench's, MT-bench's, AlpacaEval's or own JSON Lines; null for the small set
    that comes with this package."""
    limit: int | None = Field(None, gt=0)
    """First so many questions only."""
    models: tuple[EndpointConfig, ...] = ()
    """Models that answer."""
    answers: tuple[str, ...] = ()
    """Files of answers that there are: FastChat's, Vicuna's, alpaca_eval's, or of another evaluation."""
    judgments: tuple[str, ...] = ()
    """Files of judgments that there are: alpaca_eval's annotations.json, FastChat's single and pair files, or
    of another evaluation."""
    baseline: str | None = None
    """Name of the model that all others are compared with; null compares every pair."""
    judges: tuple[EndpointConfig, ...] = ()
    """Models that judge."""
    prompt: str = "score"
    """What a judge is asked: score, verdict, preference (of two answers), grade (of one); or the path of a
    YAML."""
    orders: Literal["both", "drawn", "model_first"] = "both"
    """Orders in which two answers are shown: both (balanced position calibration), one drawn by the question
    (AlpacaEval's way), or the model's first."""
    samples: int = Field(1, gt=0)
    """Replies to each request of a judge (multiple evidence calibration); above 1 the temperature is 1 unless
    a judge has its own."""
    rule: Literal["mean", "agree"] | None = None
    """How both orders make one outcome: by their mean, or a tie unless they agree; null for agreement of
    verdicts and the mean of scores."""
    figure: Literal["grade", "win_rate", "percent", "rating"] | None = None
    """By what the best model is named: mean grade, win rate or percentage against the baseline, or
    Bradley-Terry rating over all pairs; null for grade, win rate or rating, by what there is."""
    references: tuple[str, ...] = ()
    """Published figures that the report shows beside ours: alpaca_eval_1, alpaca_eval_2, vicuna_bench."""
    budget: float | None = Field(None, gt=0)
    """What everything in the file of exchanges may cost, in your currency; nothing is sent that could go
    beyond it."""
    cache: str | None = None
    """File of exchanges, from which nothing is asked twice; null for one in the output folder."""

    def resolved(self) -> EvalConfig:
        """The same with absolute paths, for whoever reads it in another working folder."""
        return self.replace(
            questions=self.questions and absolute(self.questions),
            answers=tuple(map(absolute, self.answers)),
            judgments=tuple(map(absolute, self.judgments)),
            models=tuple(
                {**one.model_dump(), "folder": one.folder and absolute(one.folder)} for one in self.models
            ),
            prompt=absolute(self.prompt) if self.prompt.endswith((".yaml", ".yml")) else self.prompt,
            cache=self.cache and absolute(self.cache),
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what, ends in (("models", self.models), ("judges", self.judges)):
            names = [one.name for one in ends]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{what}: {sorted(twice)[0]} is named twice; every one needs its own name")
        if judge := next((one.name for one in self.judges if one.folder is not None), None):
            raise ValueError(f"judges: {judge} is a folder; serve it and give its url")
        if self.budget is not None and not any(one.priced for one in (*self.models, *self.judges)):
            raise ValueError("budget needs prices; give input_price and output_price of models or judges")
        return self
