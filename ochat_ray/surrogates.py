"""Lone surrogates: halves of a cut emoji, which JSON can hold and UTF-8 cannot."""

from __future__ import annotations


def sound(text: str) -> str:
    """A text that UTF-8 can hold: halves that belong together are joined, others become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
