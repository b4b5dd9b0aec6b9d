"""Plain completions. Reference: https://platform.openai.com/docs/api-reference/completions."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from ochat_ray.errors import RequestError
from ochat_ray.serve.protocol.common import Sampled, drop_empty

MAX_PROMPTS = 64
Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Many = Field(min_length=1, max_length=MAX_PROMPTS)
Prompts = str | Ids | Annotated[list[str], Many] | Annotated[list[Ids], Many]
UNSUPPORTED: dict[str, tuple[Any, ...]] = {"best_of": (1,), "suffix": ("",)}


class CompletionRequest(Sampled):
    """The body of POST /v1/completions."""

    prompt: Annotated[list[str] | list[list[int]], Field(min_length=1, max_length=MAX_PROMPTS)]
    """Texts or token ids; one stands for a list of one. Text never becomes a special token."""
    echo: bool | None = None
    """Whether the answer begins with the prompt."""
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    @field_validator("prompt", mode="before", json_schema_input_type=Prompts)
    @classmethod
    def _list(cls, prompt: Any) -> Any:
        return listed(prompt)

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, data: Any) -> Any:
        return drop_empty(data, UNSUPPORTED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_ids(self.prompt, "prompt")
        return self


def listed(prompt: Any) -> Any:
    """One text, or the ids of one, as a list of one."""
    one = isinstance(prompt, str) or (
        isinstance(prompt, list) and prompt and all(type(item) is int for item in prompt)
    )
    return [prompt] if one else prompt


def check_ids(prompts: list[str] | list[list[int]], param: str) -> None:
    """Raises RequestError for an empty prompt of ids, or a negative id."""
    for prompt in prompts:
        if not isinstance(prompt, str) and (not prompt or min(prompt) < 0):
            raise RequestError(f"{param}: token ids are a list of numbers from 0, and not empty", param=param)
