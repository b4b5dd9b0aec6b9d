"""What all requests share: strictness, errors by parameter, how tokens are chosen, usage.

A parameter that is not supported is refused by name, never ignored, unless its value asks for nothing.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ochat_ray.errors import RequestError
from ochat_ray.serve.engine.request import SamplingParams

MAX_CHOICES = 8
MAX_STOPS = 16
MAX_LOGPROBS = 20
MAX_INT = 2**31 - 1

T = TypeVar("T", bound="Body")
TRIED = re.compile(r"\[key\]|(list|literal)\[.*\]|NamedTool")  # what pydantic puts into locations
Stop = Annotated[str, Field(min_length=1)]
Stops = Annotated[list[Stop], Field(max_length=MAX_STOPS)]


def drop_empty(data: Any, unsupported: dict[str, tuple[Any, ...]]) -> Any:
    """Leave out unsupported parameters that ask for nothing; `unsupported` has the values that do, beside
    null. Raises RequestError naming one that asks for something."""
    if not isinstance(data, dict):
        return data
    kept = {}
    for name, value in data.items():
        if name not in unsupported:
            kept[name] = value
        elif value is not None and not any(type(value) is type(v) and value == v for v in unsupported[name]):
            raise RequestError(f"{name} is not supported by this server; leave it out", param=name)
    return kept


class Body(BaseModel):
    """Unknown parameters and loose types are refused; null means the default, as with OpenAI."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class StreamOptions(Body):
    """Options of a streamed answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Accepted; nothing is padded either way."""


class Sampled(Body):
    """How the tokens of a reply are chosen, and when it ends. The last block is not OpenAI's but common."""

    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_INT)] | None = None
    stop: Stops | None = None
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

    top_k: Annotated[int, Field(ge=0, le=MAX_INT)] | None = None
    """0 for all tokens."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    # Logits are divided by it, and may not overflow.
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    min_tokens: Annotated[int, Field(ge=0, le=MAX_INT)] | None = None
    """Before so many, no token that would end the reply is chosen."""
    stop_token_ids: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=64)] | None = None

    @field_validator("stop", mode="before", json_schema_input_type=Stops | Stop | None)
    @classmethod
    def _listed(cls, stop: Any) -> Any:
        return [stop] if isinstance(stop, str) else stop

    @model_validator(mode="after")
    def _options_go_with_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise RequestError("stream_options needs stream: true", param="stream_options")
        return self

    @property
    def counts_usage(self) -> bool:
        """Whether a stream ends in a chunk with usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self, *, temperature: float) -> SamplingParams:
        """The engine's parameters; `temperature` is the default."""
        return SamplingParams(
            temperature=temperature if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k or 0,
            min_p=self.min_p or 0.0,
            seed=self.seed,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            repetition_penalty=self.repetition_penalty or 1.0,
            logit_bias=self.logit_bias or {},
        )


def parse_body(kind: type[T], body: bytes) -> T:
    """The request in a body. Raises RequestError naming the parameter, its value and what is allowed."""
    try:
        return kind.model_validate_json(body)
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
    value = json.dumps(fault["input"], ensure_ascii=True, default=repr)
    value = value if len(value) <= 80 else value[:77] + "..."
    raise RequestError(f"{param} = {value}: {message}", param=param, code="invalid_value")


def _param(location: tuple[int | str, ...]) -> str:
    """`messages[0].role` of ("messages", 0, "role"). Which of several types was tried is left out."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not TRIED.fullmatch(part):
            text += f".{part}" if text else part
    return text if len(text) <= 80 else text[:77] + "..."


def error_body(
    message: str, *, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def usage_of(prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }
