"""Embeddings, and text to token ids and back.

References: https://platform.openai.com/docs/api-reference/embeddings; the other two are as vLLM has them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from ochat_ray.errors import RequestError
from ochat_ray.serve.protocol.chat import ChatMessage
from ochat_ray.serve.protocol.common import Body
from ochat_ray.serve.protocol.completions import Ids, check_ids, listed

MAX_INPUTS = 256
Many = Field(min_length=1, max_length=MAX_INPUTS)
Inputs = str | Ids | Annotated[list[str], Many] | Annotated[list[Ids], Many]


class EmbeddingRequest(Body):
    """The body of POST /v1/embeddings."""

    model: str
    input: Annotated[list[str] | list[list[int]], Field(min_length=1, max_length=MAX_INPUTS)]
    """Texts or token ids; one stands for a list of one."""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Only the model's own number."""
    user: str | None = None

    @field_validator("input", mode="before", json_schema_input_type=Inputs)
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return listed(value)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_ids(self.input, "input")
        return self


class TokenizeRequest(Body):
    """The body of POST /tokenize: a text, or messages as chat completions render them."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
                {"properties": {"messages": {"type": "array"}}, "required": ["messages"]},
            ]
        }
    )

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    condition: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise RequestError("give one of prompt and messages", param="prompt")
        return self


class DetokenizeRequest(Body):
    """The body of POST /detokenize."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0)]]
