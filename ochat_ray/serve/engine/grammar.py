"""Replies that follow a JSON Schema, by xgrammar (extra `json`): a mask over the vocabulary for each token.

Method: Dong et al., XGrammar: Flexible and Efficient Structured Generation Engine, 2024.
"""

from __future__ import annotations

import json
import math
from functools import cached_property, lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from ochat_ray.errors import RequestError, one_line
from ochat_ray.serve.token_text import TokenText
from ochat_ray.tokenizer import ChatTokenizer

COMPILED = 128  # schemas that are kept
LONGEST = 16_384  # characters: compiling takes more than linear time, and recurses
IGNORED = {"not", "if", "dependentSchemas", "dependentRequired"}
NAMED = {"properties", "patternProperties", "$defs", "definitions"}  # whose keys are names, no keywords
MISSING = "JSON output needs the extra `json` on the server: pip install 'ochat-ray[json]'"


class Grammar(Protocol):
    """What may come next in one reply."""

    def mask(self, logits_V: Tensor) -> None:
        """Set what may not come next to minus infinity."""

    def accept(self, token_id: int) -> None:
        """Note the token that came."""


class Grammars:
    """Compiles schemas for one tokenizer. `vocabulary`: size of the model's; `stop_ids` end a reply."""

    def __init__(self, tokenizer: ChatTokenizer, vocabulary: int, stop_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._stop_ids = stop_ids
        self._compiled = lru_cache(COMPILED)(self._compile)

    def grammar(self, schema: str) -> Grammar:
        """A matcher for one reply; "" is any JSON object. Takes milliseconds where the schema is new.

        Raises RequestError for a schema that cannot be compiled, and where xgrammar is not installed.
        """
        if len(schema) > LONGEST:
            raise RequestError(
                f"the JSON Schema has {len(schema):,} characters; at most {LONGEST:,} are compiled",
                param="response_format",
            )
        return _Matcher(self._compiled(schema), self._controls)

    def _compile(self, schema: str) -> Any:
        keyword = _ignored(json.loads(schema or "{}"))
        if keyword is not None:
            raise RequestError(
                f"response_format: the JSON Schema keyword {keyword!r} cannot be followed; leave it out",
                param="response_format",
            )
        try:
            # In one line: models that are not sure of themselves fill replies with white space.
            return self._compiler.compile_json_schema(schema or '{"type": "object"}', any_whitespace=False)
        except ImportError as error:
            raise RequestError(MISSING, param="response_format") from error
        except (RuntimeError, ValueError) as error:
            reason = one_line(error).rpartition("cc:")[2].partition(": ")[2] or one_line(error)
            raise RequestError(
                f"response_format: the JSON Schema cannot be followed ({reason}); simplify it",
                param="response_format",
            ) from error

    @cached_property
    def _controls(self) -> Tensor:
        """Tokens with control characters: JSON in one line has none, but xgrammar lets them into strings
        whose length is bounded."""
        text = TokenText(self._tokenizer)
        ids = range(self._tokenizer.vocab_size)
        return torch.tensor(
            [i for i in ids if any(byte < 0x20 for byte in text.bytes_of(i))], dtype=torch.long
        )

    @cached_property
    def _compiler(self) -> Any:
        import xgrammar

        tokens = self._tokenizer.tokens
        kinds = xgrammar.VocabType
        # How a line break is spelled gives the kind away.
        kind = {"<0x0A>": kinds.BYTE_FALLBACK, "\u010a": kinds.BYTE_LEVEL}
        info = xgrammar.TokenizerInfo(
            tokens,
            next((kind[token] for token in kind if token in tokens), kinds.RAW),
            vocab_size=self._vocabulary,
            stop_token_ids=sorted(self._stop_ids),
        )
        return xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)


def _ignored(schema: Any) -> str | None:
    """A keyword that xgrammar would silently not follow."""
    if isinstance(schema, list):
        return next((found for one in schema if (found := _ignored(one))), None)
    if not isinstance(schema, dict):
        return None
    for name, value in schema.items():
        if name in IGNORED or (name == "allOf" and isinstance(value, list) and len(value) > 1):
            return str(name)
        parts = value.values() if name in NAMED and isinstance(value, dict) else [value]
        if name not in ("const", "enum", "default", "examples"):
            found = next((found for part in parts if (found := _ignored(part))), None)
            if found is not None:
                return found
    return None


class _Matcher:
    def __init__(self, compiled: Any, never: Tensor) -> None:
        import xgrammar

        self._never = never
        self._matcher = xgrammar.GrammarMatcher(compiled)
        self._mask_1W = xgrammar.allocate_token_bitmask(1, compiled.tokenizer_info.vocab_size)

    def mask(self, logits_V: Tensor) -> None:
        import xgrammar

        if self._matcher.fill_next_token_bitmask(self._mask_1W):
            xgrammar.apply_token_bitmask_inplace(logits_V[None], self._mask_1W.to(logits_V.device))
        logits_V[self._never] = -math.inf

    def accept(self, token_id: int) -> None:
        self._matcher.accept_token(token_id)
