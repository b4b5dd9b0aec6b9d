"""What conversations are tokenised for: model types, each with the tokenizer of its base model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ochat_ray.config import ClassConfig, Recipe
from ochat_ray.conversation import Conversation
from ochat_ray.data.filters.basic import is_model
from ochat_ray.data.tokens.encode import Encoder
from ochat_ray.errors import ConfigError
from ochat_ray.model_types import ModelType, load_model_type
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer


@dataclass(frozen=True)
class Target:
    """A model type over a tokenizer, as workers get it: whole, so that they need no files of the driver's."""

    model_type: ModelType
    max_tokens: int
    tokenizer: str  # the JSON of a tokenizer.json
    bos_token: str | None

    @property
    def name(self) -> str:
        """The model type's name, also that of its folder of tokens."""
        return self.model_type.name

    def template(self) -> ChatTemplate:
        """The renderer, made once in each process."""
        return _template(self)

    def encoder(self) -> Encoder:
        """The fastest way to encode texts for it, made once in each process."""
        return _encoder(self)


def load_targets(recipe: Recipe, bases: Sequence[str | Path]) -> tuple[Target, ...]:
    """A target for each base: a folder, for the recipe's model type, or MODEL_TYPE=FOLDER for another.

    Raises ConfigError for a model type that is given twice or unknown, CheckpointError for a folder whose
    tokenizer lacks what its model type needs.
    """
    found: dict[str, Target] = {}
    for base in map(str, bases):
        kind, equals, folder = base.partition("=")
        model_type = load_model_type(kind if equals else recipe.model_type)
        if model_type.name in found:
            raise ConfigError(
                f"--base {base}: model type {model_type.name} has a base already; "
                "write --base MODEL_TYPE=FOLDER for each further one"
            )
        tokenizer = ChatTokenizer.load(folder if equals else base)
        ChatTemplate(model_type, tokenizer)  # tells of tokens that are missing
        max_tokens = recipe.data.max_tokens or model_type.context
        found[model_type.name] = Target(
            model_type, max_tokens, json.dumps(tokenizer.spec), tokenizer.bos_token
        )
    return tuple(found.values())


def class_of(conversation: Conversation, classes: Sequence[ClassConfig]) -> ClassConfig | None:
    """The first class that fits: by the condition that the source states, else by the model."""
    for one in classes:
        if conversation.condition is not None:
            if one.condition == conversation.condition:
                return one
        elif is_model(conversation.model, one.models):
            return one
    return None


@lru_cache(maxsize=8)
def _template(target: Target) -> ChatTemplate:
    return ChatTemplate(target.model_type, ChatTokenizer(json.loads(target.tokenizer), target.bos_token))


@lru_cache(maxsize=8)
def _encoder(target: Target) -> Encoder:
    return Encoder(target.template().tokenizer)
