"""What a single token stands for: its bytes, and text to show."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

from ochat_ray.serve.engine.request import TokenLogprob
from ochat_ray.tokenizer import ChatTokenizer

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
LOWEST = -9999.0  # OpenAI's number for what cannot come: JSON has no infinity


class TokenText:
    """Bytes and text of a tokenizer's tokens, byte-level or sentencepiece-like."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokens = tokenizer.tokens
        self._special = set(tokenizer.special_ids.values())
        self._byte_level = "\u010a" in self._tokens  # the spelling of a line break

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes that a token adds to a text; of a special token its name."""
        if not 0 <= token_id < len(self._tokens):
            return b""
        token = self._tokens[token_id]
        if token_id in self._special:
            return token.encode()
        if self._byte_level:
            table = _byte_level_table()
            return bytes(table[char] for char in token if char in table)
        byte = _BYTE.fullmatch(token)
        return bytes([int(byte[1], 16)]) if byte else token.replace("\u2581", " ").encode()

    def text_of(self, token_id: int) -> str:
        """The text of a token by itself, with a replacement character for parts of characters."""
        return self.bytes_of(token_id).decode(errors="replace")

    def chat_logprob(self, token_id: int, found: TokenLogprob) -> dict[str, Any]:
        """An entry of `logprobs.content`."""
        top = [self._entry(other, logprob) for other, logprob in found.top]
        return {**self._entry(token_id, found.logprob), "top_logprobs": top}

    def _entry(self, token_id: int, logprob: float) -> dict[str, Any]:
        raw = self.bytes_of(token_id)
        return {
            "token": raw.decode(errors="replace"),
            "bytes": list(raw),
            "logprob": finite(logprob),
        }


def finite(logprob: float) -> float:
    """A log-probability that JSON can say."""
    return logprob if math.isfinite(logprob) else LOWEST


@lru_cache(1)
def _byte_level_table() -> dict[str, int]:
    """Characters of byte-level vocabularies (GPT-2's) and the bytes that they stand for."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(0x100 + number): byte for number, byte in enumerate(others)}
