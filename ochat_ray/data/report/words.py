"""Texts to words for the map of conversations: any script, code included, offline.

Scripts without spaces (Han, katakana, Thai and their like) give overlapping pairs of characters; all others
give words of letters, so that `snake_case` is two words and digits and punctuation are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Thai, Lao, Myanmar, Khmer, katakana, Han. Hiragana is left out: it is mostly endings and particles.
_UNSPACED = (
    r"\u0e00-\u0e4e\u0e80-\u0eff\u1000-\u103f\u1780-\u17d3"
    r"\u30a0-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
# Marks that Python's \w leaves out, without which words of Indic scripts, Hebrew and Arabic fall apart.
_MARKS = r"\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0971-\u0dff\u200c\u200d"
_LETTER = rf"[^\W\d_\u3040-\u309f{_UNSPACED}]"
_WORDS = re.compile(rf"(?P<unspaced>[{_UNSPACED}]+)|{_LETTER}(?:{_LETTER}|[{_MARKS}])*")
_URL = re.compile(r"https?://\S+")
# What remains of English contractions when the apostrophe parts them.
_CONTRACTIONS = frozenset(
    ["aren", "couldn", "didn", "doesn", "don", "hadn", "hasn", "haven", "isn", "ll", "re", "shouldn"]
    + ["ve", "wasn", "weren", "won", "wouldn"]
)
# The most frequent words of Spanish, Portuguese, French, Italian, German and Dutch, which tell no topic; but
# not those that tell one in English, such as `war` and `son`.
_STOP_WORDS = """
    aan aber al als am ao aos au auch auf aus aux avec bei bij bin bis ce ces cette che chi ci com como
    con cual cuando da dal das dass dat de degli del della delle dem den der des desde deze di die diese
    dieser dit do donde dos du durch een ein eine einem einen einer el ela ele ella elle em en entre er
    es esa ese essa esse est esta este esto et eux foi fue gli ha haben hanno hat hay hebben het hij ich
    ihr ik il ils im io isso ist ja je kan kann la las le lei les leur lo loro los lui ma maar mais mas mes
    met mi mit moi muito muy na naar nach nao nas ne nei nel nella nem nicht niet noch non nos nous num
    numa nur oder om ook op os ou para pas pela pelo per pero piu por porque pour pode puede qu qual
    quando que quella questo qui quien sa sao se sem ser ses seu si sich sie sin sind sobre sono sont su
    sua sur sus te tem tes tiene todo todos toi tu um uma un una und une uno uns uit van von voor vos
    votre vous wat wenn wie wir wird ya zijn zu zum zur
    \u00e0 \u00e9 \u00eatre c\u00f3mo est\u00e1 f\u00fcr m\u00e1s n\u00e3o pi\u00f9 qu\u00e9 s\u00e3o
    s\u00ed tamb\u00e9m tambi\u00e9n \u00fcber voc\u00ea
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
# Chinese pronouns and particles, which would join the words beside them to pairs without sense.
_PARTICLES = re.compile(
    "[\u7684\u4e86\u662f\u6211\u4f60\u60a8\u4ed6\u5979\u5b83\u4eec\u8fd9\u90a3\u5417\u5462\u5427]"
)


def words(text: str) -> list[str]:
    """The lower-case words of a text in order, repeated as often as they occur."""
    return list(_words(_URL.sub(" ", text).lower()))


def _words(text: str) -> Iterator[str]:
    for match in _WORDS.finditer(text):
        word = match.group()
        if match["unspaced"]:
            for run in _PARTICLES.split(word):
                yield from (run[at : at + 2] for at in range(len(run) - 1))
        elif len(word) > 1 and word not in _CONTRACTIONS:
            yield word
