"""The registry of model types: how each family of chat models lays out a conversation, as data.

Each is a YAML of strings and numbers beside this file; a path to a file of the same fields works
wherever a name does. Nothing but `ochat_ray.template` knows what the fields mean.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ochat_ray.errors import ConfigError
from ochat_ray.strict import StrictModel, parse, read_yaml

FOLDER = Path(__file__).parent
CONDITION = "{condition}"
AUTO = "auto"


class ToolConvention(StrictModel):
    """How tools are offered in text, and calls and results written: Hermes' way unless said otherwise."""

    system: str = (
        "You can call functions. To call one, write a JSON object with its name and arguments, like\n"
        '<tool_call>{"name": "...", "arguments": {...}}</tool_call>\n'
        "and wait for the result. The functions are:\n{tools}"
    )
    """At the end of the system message; `{tools}` stands for the functions, a JSON object a line."""
    call_open: str = Field("<tool_call>", min_length=1)
    """Before a call, a JSON object with `name` and `arguments`."""
    call_close: str = Field("</tool_call>", min_length=1)
    """After a call."""
    result_open: str = "<tool_response>"
    """Before the result of a call, in a user message."""
    result_close: str = "</tool_response>"
    """After the result of a call."""


class ModelType(StrictModel):
    """How conversations become tokens: `[bos] (prefix text eot)*`, prefix and text tokenised apart."""

    name: str
    """Name in recipes, token files and `ochat.json`."""
    aliases: tuple[str, ...] = ()
    """Further names of the same type."""
    base: str
    """The base model it is meant for, for people to read."""
    context: int = Field(gt=0)
    """Longest conversation, tokens."""
    bos: str | None
    """Special token that opens a conversation; null for none, `auto` for the tokenizer's own, if any."""
    eot: str
    """Special token that ends every turn, and generation."""
    special_tokens: tuple[str, ...] = ()
    """Special tokens that occur in the prefixes, beside bos and eot."""
    system_prefix: str = ""
    """Before the text of a system message. Here and below `{condition}` stands for the condition."""
    user_prefix: str
    """Before the text of a user message."""
    assistant_prefix: str
    """Before the text of an assistant message, and at the end of a prompt."""
    conditions: tuple[str, ...] = ()
    """Conditions the published models were trained with, for people to read; others are accepted."""
    default_condition: str | None = None
    """Condition of a conversation or request that names none."""
    tools: ToolConvention = ToolConvention()
    """How tools are offered and called when serving."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.eot:
            raise ValueError("eot must not be empty: name the token that ends a turn")
        if not self.user_prefix or not self.assistant_prefix:
            raise ValueError("user_prefix and assistant_prefix must not be empty")
        if self.conditioned and self.default_condition is None:
            raise ValueError(f"a prefix uses {CONDITION}: default_condition is needed")
        if not self.conditioned and self.default_condition is not None:
            raise ValueError(f"default_condition is given but no prefix uses {CONDITION}")
        return self

    @property
    def conditioned(self) -> bool:
        """Whether any prefix depends on the condition."""
        return any(CONDITION in p for p in (self.system_prefix, self.user_prefix, self.assistant_prefix))

    @property
    def specials(self) -> tuple[str, ...]:
        """Every special token that the layout names, bos first, without repeats."""
        named = (self.bos if self.bos != AUTO else None, self.eot, *self.special_tokens)
        return tuple(dict.fromkeys(token for token in named if token))

    def fingerprint(self) -> str:
        """sha256 of the fields that decide token ids (not names or remarks), hex."""
        fields = self.model_dump(exclude={"name", "aliases", "base", "conditions", "context", "tools"})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def model_type_names() -> list[str]:
    """Names of the shipped model types, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_model_type(name_or_path: str) -> ModelType:
    """A model type by name, alias, or path of a YAML. Raises ConfigError with the nearest name."""
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
    else:
        known = {path.stem: path for path in FOLDER.glob("*.yaml")}
        if name_or_path not in known:
            for shipped in known.values():
                found = _load(shipped)
                if name_or_path in found.aliases:
                    return found
            near = difflib.get_close_matches(name_or_path, known, n=1)
            hint = f"did you mean `{near[0]}`? Known: " if near else "known: "
            raise ConfigError(
                f"unknown model type `{name_or_path}`: {hint}{', '.join(sorted(known))}; "
                "or give the path of a YAML"
            )
        path = known[name_or_path]
    return _load(path)


def _load(path: Path) -> ModelType:
    data, lines = read_yaml(path)
    return parse(ModelType, data, str(path), lines)
