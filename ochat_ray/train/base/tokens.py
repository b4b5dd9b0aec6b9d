"""Special tokens for a tokenizer that lacks them."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import AddedToken, Tokenizer

from ochat_ray.tokenizer import ChatTokenizer


def add_tokens(tokenizer: ChatTokenizer, tokens: list[str]) -> ChatTokenizer:
    """The tokenizer with those of `tokens` that it lacks as special tokens, in order, at new ids.

    A token that is only an ordinary vocabulary entry keeps its id and becomes special.
    """
    spec: dict[str, Any] = dict(tokenizer.spec)
    missing = [token for token in tokens if token not in tokenizer.special_ids]
    if missing:
        extended = Tokenizer.from_str(json.dumps(spec))
        extended.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in missing])
        spec["added_tokens"] = json.loads(extended.to_str())["added_tokens"]
    return ChatTokenizer(spec, tokenizer.bos_token)
