"""Chat completions. Reference: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from ochat_ray.errors import RequestError
from ochat_ray.serve.protocol.common import MAX_INT, MAX_LOGPROBS, Body, Sampled, drop_empty

# Parameters of OpenAI's API that are not supported, with the values that ask for nothing beyond null.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "metadata": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning_effort": ("none",),
    "safety_identifier": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": (),
    "web_search_options": (),
}
MESSAGE_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "annotations": ([],),
    "audio": (),
    "function_call": (),
    "refusal": (),
}
NAME = r"^[a-zA-Z0-9_-]{1,64}$"
SPEAKER = r"^[^\s<|\\/>]{1,64}$"


class FunctionCall(Body):
    """`arguments` is JSON, as text."""

    name: Annotated[str, Field(min_length=1)]
    arguments: str


class ToolCall(Body):
    """A call that the assistant made."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class TextPart(Body):
    """Content in parts."""

    type: Literal["text"]
    text: str


# What `ChatMessage._complete` asks, as a schema says it.
MESSAGE_RULES: dict[str, Any] = {
    "oneOf": [
        {
            "properties": {
                "role": {"enum": ["system", "developer", "user"]},
                "content": {"type": ["string", "array"]},
                "tool_calls": {"type": "null"},
                "tool_call_id": {"type": "null"},
            },
            "required": ["content"],
        },
        {
            "properties": {"role": {"const": "assistant"}, "tool_call_id": {"type": "null"}},
            "anyOf": [
                {"properties": {"content": {"type": ["string", "array"]}}, "required": ["content"]},
                {"properties": {"tool_calls": {"type": "array", "minItems": 1}}, "required": ["tool_calls"]},
            ],
        },
        {
            "properties": {
                "role": {"const": "tool"},
                "content": {"type": ["string", "array"]},
                "tool_calls": {"type": "null"},
                "tool_call_id": {"type": "string"},
            },
            "required": ["content", "tool_call_id"],
        },
    ]
}


class ChatMessage(Body):
    """A message; `content` is text, or a list of text parts, which are joined."""

    model_config = ConfigDict(json_schema_extra=MESSAGE_RULES)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    name: Annotated[str, Field(pattern=SPEAKER)] | None = None
    """Who speaks: the model reads it before the content. Not that of a tool: the call has it."""
    tool_calls: list[ToolCall] | None = None
    """Of an assistant's message."""
    tool_call_id: str | None = None
    """The call that a tool's message answers."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("tool_calls") == []:
            data = {**data, "tool_calls": None}
        if isinstance(data, dict) and data.get("role") == "tool":
            data = {name: value for name, value in data.items() if name != "name"}
        return drop_empty(data, MESSAGE_UNSUPPORTED)

    @field_validator("content", mode="before", json_schema_input_type=str | list[TextPart] | None)
    @classmethod
    def _join(cls, content: Any) -> Any:
        if not isinstance(content, list):
            return content
        texts = []
        for index, part in enumerate(content):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind != "text" or not isinstance(part.get("text"), str):
                raise ValueError(
                    f"part {index} is of type {kind!r}; only "
                    '{"type": "text", "text": "..."} parts are supported'
                )
            texts.append(part["text"])
        return "".join(texts)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.tool_calls is not None and self.role != "assistant":
            raise RequestError("only an assistant's message has tool_calls", param="tool_calls")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise RequestError(
                "tool_call_id names the call that a tool's message, and no other, answers",
                param="tool_call_id",
            )
        if self.content is None and not self.tool_calls:
            raise RequestError("content is missing", param="content", code="missing_required_parameter")
        return self


class Function(Body):
    """What a tool is. `parameters` is a JSON Schema."""

    name: Annotated[str, Field(pattern=NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    """A function that the model may call."""

    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    name: str


class NamedTool(Body):
    """The function that must be called."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Body):
    """`schema` is a JSON Schema; null for any object."""

    name: Annotated[str, Field(pattern=NAME)]
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Body):
    """Text, any JSON object, or JSON after a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.json_schema is not None) != (self.type == "json_schema"):
            raise RequestError("json_schema goes with type json_schema", param="json_schema")
        return self

    @property
    def schema_text(self) -> str | None:
        """The schema for the engine: None for text, "" for any object."""
        if self.type == "text":
            return None
        schema = self.json_schema.schema_ if self.json_schema is not None else None
        return "" if schema is None else json.dumps(schema)


class ChatRequest(Sampled):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_INT)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    condition: str | None = None
    """The condition of a conditioned model type, e.g. `Math Correct`; ours, not OpenAI's."""

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("tool_choice"), dict):
            NamedTool.model_validate(data["tool_choice"])
        return drop_empty(data, UNSUPPORTED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise RequestError(
                "max_tokens and max_completion_tokens are the same; give one of them", param="max_tokens"
            )
        if self.top_logprobs and not self.logprobs:
            raise RequestError("top_logprobs needs logprobs: true", param="top_logprobs")
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise RequestError("two tools have the same name", param="tools")
        chosen = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else None
        if chosen is not None and chosen not in names:
            raise RequestError(f"tool_choice: there is no tool {chosen!r}", param="tool_choice")
        if self.tool_choice == "required" and not names:
            raise RequestError("tool_choice needs tools", param="tool_choice")
        if self.must_call and self.schema_text is not None:
            raise RequestError("a reply cannot be a call and follow response_format", param="response_format")
        return self

    @property
    def must_call(self) -> tuple[Tool, ...]:
        """The tools of which one must be called; empty where the model may do as it likes."""
        if self.tool_choice == "required":
            return tuple(self.tools or ())
        if isinstance(self.tool_choice, NamedTool):
            name = self.tool_choice.function.name
            return tuple(tool for tool in self.tools or () if tool.function.name == name)
        return ()

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools that the model is told of."""
        return () if self.tool_choice == "none" else tuple(self.tools or ())

    @property
    def schema_text(self) -> str | None:
        """See `ResponseFormat.schema_text`."""
        return None if self.response_format is None else self.response_format.schema_text


class Answer:
    """The JSON of one answer, whole or in stream chunks."""

    def __init__(self, answer_id: str, created: int, model: str) -> None:
        self._head = {"id": answer_id, "created": created, "model": model}

    def whole(self, choices: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        """The whole answer."""
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage}

    def chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        reason: str | None = None,
        logprobs: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """A chunk for one choice."""
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs_body(logprobs),
            "finish_reason": reason,
        }
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        """The chunk at the end that only counts."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage}


def choice_body(
    index: int,
    content: str | None,
    calls: list[dict[str, Any]],
    reason: str,
    logprobs: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """A choice of a whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs_body(logprobs),
        "finish_reason": reason,
    }


def logprobs_body(content: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """Log-probabilities of a choice."""
    return None if content is None else {"content": content, "refusal": None}
