"""OpenAI's chat completions: what a request may say, and the shapes of answers and errors.

Reference: https://platform.openai.com/docs/api-reference/chat. A parameter that is not supported is
refused by name, never ignored, unless its value asks for nothing.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ochat_ray.conversation import Message, Role
from ochat_ray.errors import RequestError

MAX_CHOICES = 8
MAX_STOPS = 4

# Parameters of OpenAI's API that are not supported, with the values that ask for nothing beyond null.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "prompt_cache_key": (),
    "prompt_cache_retention": (),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "safety_identifier": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
MESSAGE_UNSUPPORTED = (
    "annotations",
    "audio",
    "function_call",
    "name",
    "refusal",
    "tool_call_id",
    "tool_calls",
)


def _drop_empty(data: Any, unsupported: dict[str, tuple[Any, ...]]) -> Any:
    """Leave out unsupported parameters that ask for nothing. Raises ValueError naming one that does."""
    if not isinstance(data, dict):
        return data
    kept = {}
    for name, value in data.items():
        if name not in unsupported:
            kept[name] = value
        elif value is not None and not any(type(value) is type(v) and value == v for v in unsupported[name]):
            raise RequestError(f"{name} is not supported by this server; leave it out", param=name)
    return kept


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ChatMessage(_Strict):
    """A message; `content` is text, or a list of text parts, which are joined."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        return _drop_empty(data, dict.fromkeys(MESSAGE_UNSUPPORTED, ()))

    @field_validator("content", mode="before")
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

    def to_message(self) -> Message:
        """The record that templates render; developer messages are system messages."""
        role: Role = "system" if self.role == "developer" else self.role
        return Message(role, self.content)


class StreamOptions(_Strict):
    """Options of a streamed answer."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class ChatRequest(_Strict):
    """The body of POST /v1/chat/completions. Null means the default, as with OpenAI."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=MAX_STOPS)] | None = None
    """One string stands for a list of one."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    # Keys of JSON objects are always strings.
    logit_bias: dict[Annotated[int, Field(strict=False)], Annotated[float, Field(ge=-100, le=100)]] | None = (
        None
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    user: str | None = None
    condition: str | None = None
    """The condition of a conditioned model type, e.g. `Math Correct`; ours, not OpenAI's."""

    @field_validator("stop", mode="before")
    @classmethod
    def _listed(cls, stop: Any) -> Any:
        return [stop] if isinstance(stop, str) else stop

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, data: Any) -> Any:
        return _drop_empty(data, UNSUPPORTED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise RequestError(
                "max_tokens and max_completion_tokens are the same; give one of them", param="max_tokens"
            )
        if self.stream_options is not None and not self.stream:
            raise RequestError("stream_options needs stream: true", param="stream_options")
        return self


def parse_request(body: bytes) -> ChatRequest:
    """The request in a body. Raises RequestError naming the parameter, its value and what is allowed."""
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    if fault["type"] == "json_invalid":
        raise RequestError(
            f"the request body is not valid JSON: {fault['ctx']['error']}", code="invalid_json"
        )
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, RequestError):
        place = _param(fault["loc"])
        param = f"{place}.{cause.param}" if place else cause.param
        raise RequestError(f"{place}: {cause}" if place else str(cause), param=param, code=cause.code)
    if not fault["loc"]:
        raise RequestError("the request body must be a JSON object")
    param = _param(fault["loc"])
    if fault["type"] == "extra_forbidden":
        raise RequestError(f"unknown parameter {param}; leave it out", param=param, code="unknown_parameter")
    if fault["type"] == "missing":
        raise RequestError(f"{param} is missing", param=param, code="missing_required_parameter")
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    value = json.dumps(fault["input"], ensure_ascii=True)
    value = value if len(value) <= 80 else value[:77] + "..."
    raise RequestError(f"{param} = {value}: {message}", param=param, code="invalid_value")


def _param(location: tuple[int | str, ...]) -> str:
    """`messages[0].role` of ("messages", 0, "role")."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":
            text += f".{part}" if text else part
    return text


def error_body(
    message: str, *, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class Answer:
    """The JSON of one answer, whole or in stream chunks."""

    def __init__(self, answer_id: str, created: int, model: str) -> None:
        self._head = {"id": answer_id, "created": created, "model": model}

    def whole(self, texts: list[tuple[str, str]], usage: dict[str, int]) -> dict[str, Any]:
        """The whole answer; `texts` are (content, finish reason) of each choice."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "logprobs": None,
                "finish_reason": reason,
            }
            for index, (content, reason) in enumerate(texts)
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage}

    def delta(self, index: int, delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
        """A chunk for one choice."""
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def usage(self, usage: dict[str, int]) -> dict[str, Any]:
        """The chunk at the end that only counts."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage}


def usage_of(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
