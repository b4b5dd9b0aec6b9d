"""Words that no message may contain."""

from __future__ import annotations

import re
from functools import lru_cache

from ochat_ray.config.filters import BlockedWordsConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.reason import Reason
from ochat_ray.data.filters.text import UNSPACED, without_code

UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")


def blocked_word(messages: tuple[Message, ...], config: BlockedWordsConfig) -> Reason | None:
    """One of the blocked words as a whole word, in any case; not in fenced code, unless that counts too."""
    for number, message in enumerate(messages, 1):
        text = message.content.lower()
        if any(word.lower() in text for word in config.words):  # a cheap no for nearly all messages
            looked_at = message.content if config.in_code else without_code(message.content)
            found = _any_word(config.words).search(looked_at)
            if found:
                return Reason("blocked_word", f"message {number} ({message.role}) contains {found[0]!r}")
    return None


@lru_cache(maxsize=8)
def _any_word(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_whole, words)), re.IGNORECASE)


def _whole(word: str) -> str:
    """A pattern of the word where no letter of its own kind goes on before or after it."""
    return f"(?<!{_letter(word[0])}){re.escape(word)}(?!{_letter(word[-1])})"


def _letter(edge: str) -> str:
    if edge.isascii():
        return "[A-Za-z0-9_]"  # so that Chinese right beside an English word does not hide it
    return r"[^\s\S]" if UNSPACED_LETTER.match(edge) else r"\w"
