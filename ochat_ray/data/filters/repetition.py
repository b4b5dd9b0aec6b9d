"""Answers that go round in circles, by measures after Gopher (Rae et al. 2021, table A1).

Outside fenced code; of lines and of words, because a loop need not break lines. Where a script puts no
spaces between words, each character counts as one; so does each emoji, and each piece of an endless word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence

from ochat_ray.config.filters import RepetitionConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.reason import Reason
from ochat_ray.data.filters.text import UNSPACED, without_code

EMOJI = "\U0001f300-\U0001faff"
SINGLE = re.compile(f"[{UNSPACED}{EMOJI}]")
WORD = re.compile(r"\S{1,30}")
SAYS_SOMETHING = re.compile(f"[^\\W_]|[{EMOJI}]")
MIN_LINE_CHARS = 10  # shorter lines may well come again: `TRUE`, `Pros:`
PHRASES = (2, 3, 4)
# Each step joins two passages that far apart, to 2, 4, 8, 16, 32 and at last 40 words. Passages are this
# long because lists and tables from one template repeat 10 to 25 words at a time, and refrains 30.
STEPS = (1, 2, 4, 8, 16, 8)
PASSAGE = 40


def degenerate(messages: tuple[Message, ...], config: RepetitionConfig) -> Reason | None:
    """An answer that repeats lines, one phrase or long passages more than the settings allow."""
    if not config.enabled:
        return None
    for number, message in enumerate(messages, 1):
        if message.role == "assistant":
            fault = _fault(without_code(message.content), config)
            if fault is not None:
                return Reason("repetition", f"message {number} (assistant) {fault}")
    return None


def split_words(text: str) -> list[str]:
    """Words with their punctuation as they stand; what holds no letter, digit or emoji is none."""
    spaced = text if text.isascii() else SINGLE.sub(r" \g<0> ", text)
    return [word for word in WORD.findall(spaced) if word.isalnum() or SAYS_SOMETHING.search(word)]


def repeated_line_share(text: str) -> float:
    """The share of lines that an earlier line already said; short lines, rules and blank ones are none."""
    lines = [line for line in map(str.strip, text.split("\n")) if len(line) >= MIN_LINE_CHARS]
    lines = [line for line in lines if SAYS_SOMETHING.search(line)]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def phrase_share(words: Sequence[str], n: int) -> float:
    """The share of characters in the n words in a row that come most often, overlaps not counted twice."""
    counts = Counter(zip(*(words[first:] for first in range(n)), strict=False))
    chars = {gram: count * sum(map(len, gram)) for gram, count in counts.items() if count > 1}
    if not chars:
        return 0.0
    phrase = max(chars, key=chars.__getitem__)
    count = position = 0
    while position <= len(words) - n:
        found = tuple(words[position : position + n]) == phrase
        count += found
        position += n if found else 1
    return count * sum(map(len, phrase)) / sum(map(len, words))


def passage_share(words: Sequence[str]) -> float:
    """The share of characters in passages of 40 words that occurred before."""
    passages: Sequence[Hashable] = words
    for step in STEPS:  # names for ever longer passages, so that none of them is held as a tuple
        names: dict[tuple[Hashable, Hashable], int] = {}
        pairs = zip(passages, passages[step:], strict=False)
        passages = [names.setdefault(pair, len(names)) for pair in pairs]
        if len(names) == len(passages):  # no two are the same, so no longer ones are either
            return 0.0
    seen: set[Hashable] = set()
    repeated = covered = 0
    for start, passage in enumerate(passages):
        if passage in seen:
            repeated += sum(map(len, words[max(start, covered) : start + PASSAGE]))
            covered = start + PASSAGE
        seen.add(passage)
    return repeated / sum(map(len, words))


def _fault(text: str, config: RepetitionConfig) -> str | None:
    words = split_words(text)
    if len(words) < config.min_words:
        return None
    share = repeated_line_share(text)
    if share > config.max_line_share:
        return f"repeats {share:.0%} of its lines, more than filters.repetition.max_line_share"
    share = max(phrase_share(words, n) for n in PHRASES)
    if share > config.max_ngram_share:
        return f"is one phrase for {share:.0%}, more than filters.repetition.max_ngram_share"
    share = passage_share(words)
    if share > config.max_repeated_share:
        return f"repeats passages for {share:.0%}, more than filters.repetition.max_repeated_share"
    return None
