"""From token ids to text as they come: whole characters only, and nothing past a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNDECIDED = "\ufffd"  # how decoders show bytes that are no whole character (yet)
MAX_PENDING = 16  # tokens; a UTF-8 character has 4 bytes, so longer runs are not the start of one


class Detokenizer:
    """Text of a growing list of ids, in pieces that together are `decode` of them all.

    Decodes a short window, from the last token that surely ended a character: the token before a piece
    decides whether a tokenizer puts a space there.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._settled = 0  # tokens of the window whose text has been given out in full
        self._given = 0  # characters of the window's text that have been given out

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that is certain once `token_ids` have been added."""
        if not token_ids:
            return ""
        self._window += token_ids
        text = self._decode(self._window)
        if text.endswith(UNDECIDED) and len(token_ids) > 1:
            del self._window[-len(token_ids) :]
            return "".join(self.push([token_id]) for token_id in token_ids)
        if text.endswith(UNDECIDED) and len(self._window) - self._settled < MAX_PENDING:
            return self._give(text.rstrip(UNDECIDED))
        piece = self._give(text)
        self._window = self._window[self._settled :][-MAX_PENDING:]  # context for what comes
        self._settled = len(self._window)
        self._given = len(self._decode(self._window))
        return piece

    def flush(self) -> str:
        """What was held back, at the end of generation."""
        return self._give(self._decode(self._window))

    def _give(self, text: str) -> str:
        piece = text[self._given :]
        self._given = max(self._given, len(text))
        return piece


class StopStrings:
    """Passes text on up to the stop string that is complete first.

    Text that could be the beginning of a stop string is held back until it is decided.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.hit = False

    def push(self, text: str) -> str:
        """The text that may be shown; `hit` says whether a stop string ended it."""
        text = self._held + text
        found = [(text.index(stop), stop) for stop in self._stops if stop in text]
        if found:
            start, _ = min(found, key=lambda pair: (pair[0] + len(pair[1]), pair[0]))
            self.hit, self._held = True, ""
            return text[:start]
        hold = max((overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def flush(self) -> str:
        """What was held back, at the end of generation."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins, but is not complete."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
