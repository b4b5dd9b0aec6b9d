"""The shapes of answers, as the page of the API tells them. Answers are built as plain dicts, for speed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

FinishReason = Literal["stop", "length", "tool_calls"]


class Shape(BaseModel):
    """A part of an answer, with no other fields than these."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class PromptTokensDetails(Shape):
    cached_tokens: int
    """Of the prompt, known from earlier requests."""


class Usage(Shape):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class TopLogprob(Shape):
    token: str
    bytes: list[int]
    logprob: float


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(Shape):
    content: list[TokenLogprob]
    refusal: None


class CalledFunction(Shape):
    name: str
    arguments: str
    """JSON, as text."""


class AnswerToolCall(Shape):
    id: str
    type: Literal["function"]
    function: CalledFunction


class AnswerMessage(Shape):
    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[AnswerToolCall] = []


class ChatChoice(Shape):
    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(Shape):
    """The answer to a chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class CompletionLogprobs(Shape):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(Shape):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason | None


class Completion(Shape):
    """The answer to a plain completion, and each chunk of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None


class Embedding(Shape):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    """Numbers, or with `encoding_format: base64` their little-endian 32-bit floats."""


class EmbeddingUsage(Shape):
    prompt_tokens: int
    total_tokens: int


class Embeddings(Shape):
    """The answer to a request for embeddings."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage


class Tokens(Shape):
    """The ids of a text."""

    count: int
    max_model_len: int
    tokens: list[int]


class Text(Shape):
    """The text of ids."""

    prompt: str


class Model(Shape):
    """A name that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int
    """Tokens of prompt and reply together."""
    conditions: list[str]
    """What `condition` may say."""


class ModelList(Shape):
    """All names that are served."""

    object: Literal["list"]
    data: list[Model]


class Health(Shape):
    """What each model's engine is doing."""

    status: Literal["ok"]
    models: dict[str, dict[str, Any]]


class Ready(Shape):
    status: Literal["ready"]


class WidgetSettings(Shape):
    handoff: bool
    """Whether conversations can be passed on to a person."""


class HandedOff(Shape):
    id: str


class Fault(Shape):
    """What is wrong, and with which parameter."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(Shape):
    """OpenAI's error object."""

    error: Fault
