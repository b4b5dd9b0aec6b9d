"""Which known tokens a prompt begins with: an index of spans by hashes of their beginnings.

The hash of each block of tokens includes that of the block before it (as in vLLM's automatic prefix
caching, Kwon et al., 2023), so the longest match is found by one walk along the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

BLOCK = 32  # tokens; matches are exact to the token from here on
LOOKED_AT = 8  # spans that are compared token by token


class Known(NamedTuple):
    """The span of `key` begins with the same `tokens` tokens."""

    key: int
    tokens: int


class Prefixes:
    """Token lists by key, and the one that shares the longest beginning with a prompt."""

    def __init__(self) -> None:
        self._tokens: dict[int, Sequence[int]] = {}
        self._keys: dict[int, dict[int, None]] = {}  # by hash, newest last

    def add(self, key: int, tokens: Sequence[int]) -> None:
        """Note what a span holds or is about to; replaces what was noted before."""
        self.remove(key)
        self._tokens[key] = tokens
        for digest in hashes(tokens):
            self._keys.setdefault(digest, {})[key] = None

    def remove(self, key: int) -> None:
        """Forget a span. Unknown keys are let be."""
        for digest in hashes(self._tokens.pop(key, ())):
            keys = self._keys[digest]
            del keys[key]
            if not keys:
                del self._keys[digest]

    def longest(self, prompt: Sequence[int]) -> Known | None:
        """The span that shares the longest beginning, of at least one block."""
        found: dict[int, None] = {}
        whole = 0
        for digest in hashes(prompt):
            if digest not in self._keys:
                break
            found = self._keys[digest]
            whole += BLOCK
        shared = [Known(key, self._shared(key, prompt, whole)) for key in list(found)[-LOOKED_AT:]]
        return max(shared, key=lambda known: known.tokens, default=None)

    def _shared(self, key: int, prompt: Sequence[int], at: int) -> int:
        tokens = self._tokens[key]
        if list(tokens[:at]) != list(
            prompt[:at]
        ):  # hashes can be made to collide: nobody gets another's text
            at = 0
        end = min(len(tokens), len(prompt))
        return next((i for i in range(at, end) if tokens[i] != prompt[i]), end)


def hashes(tokens: Sequence[int]) -> Iterator[int]:
    """Of each whole block, with all that is before it."""
    digest = 0
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        digest = hash((digest, *tokens[start : start + BLOCK]))
        yield digest
