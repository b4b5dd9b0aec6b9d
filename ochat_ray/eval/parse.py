"""What a judge's reply says. None is "could not be understood", which is not a score of zero."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

Pair = tuple[float, float]
NUMBER = r"(\d+(?:\.\d+)?)"
LINE_OF_TWO = re.compile(rf"^[^\w-]*{NUMBER}(?:\s*,\s*|\s+){NUMBER}\W*$")
BRACKETED = re.compile(rf"\[\s*{NUMBER}\s*,\s*{NUMBER}\s*\]")
VERDICT = re.compile(r"\[\[([ABC])\]\]")
GRADES = (re.compile(rf"\[\[{NUMBER}\]\]"), re.compile(rf"(?<!\w)\[{NUMBER}\]"))
LETTERS = ("m", "M")
OUTCOMES: dict[str, Pair] = {"A": (1.0, 0.0), "B": (0.0, 1.0), "C": (0.5, 0.5)}
HIGHEST = 10.0
LONGEST_LINE = 80  # of two numbers; a judge that talks on says other things


def scores(text: str) -> Pair | None:
    """Two scores up to 10, of the answer shown first and second: from the last line upwards, a line of
    nothing but two numbers, or else a bracketed pair, as OpenChat's evaluation reads them."""
    for line in reversed(text.splitlines()):
        two = LINE_OF_TWO.match(line) if len(line) <= LONGEST_LINE else None
        found = [two] if two else list(BRACKETED.finditer(line))
        if found:
            pair = float(found[-1][1]), float(found[-1][2])
            return pair if max(pair) <= HIGHEST else None
    return None


def verdict(text: str) -> Pair | None:
    """1 and 0 for [[A]], 0 and 1 for [[B]], a half each for [[C]]; None where several differ."""
    found = set(VERDICT.findall(text))
    return OUTCOMES[found.pop()] if len(found) == 1 else None


def grade(text: str) -> float | None:
    """The last [[n]], else the last [n] (Zheng et al. 2023), up to 10."""
    for pattern in GRADES:
        found = pattern.findall(text)
        if found:
            value = float(found[-1])
            return value if value <= HIGHEST else None
    return None


def letter(text: str, top_logprobs: Sequence[tuple[str, float]] = ()) -> Pair | None:
    """The share of each output: by the probabilities of `m` and `M` where they are known (AlpacaEval 2,
    Dubois et al. 2024), else all for the letter that the reply is."""
    shares = [sum(math.exp(p) for token, p in top_logprobs if token.strip() == name) for name in LETTERS]
    if sum(shares) > 0:
        second = shares[1] / sum(shares)
        return 1 - second, second
    said = text.strip().strip(".\"'`*")
    return (float(said == "m"), float(said == "M")) if said in LETTERS else None
