"""What the browser's buttons and extensions left in the text of answers, told apart from the text.

    2 / 2                           which of several regenerated answers is shown
    Copy code                       the button of a code block
    Copy1234 chars / 210 words      the footer of a browser extension
    Finished browsing, Used Wolfram what a plugin has done before the answer

All of it stands outside paragraphs. An answer that itself begins with `16 / 9` keeps it.
"""

from __future__ import annotations

import re

BARE = re.compile(
    r"\d{1,3} / \d{1,3}|Copy code|(?:Copy)?\d+ chars / \d+ words|Finished browsing|Used \*\*[^*\n]+\*\*"
)
FOOTER = re.compile(r"Copy\d+ chars / \d+ words")


def is_noise(text: str) -> bool:
    """Whether a text that stands in no paragraph is nothing but noise."""
    return BARE.fullmatch(text) is not None


def strip_footer(text: str) -> str:
    """Markdown without the footer at its end."""
    at = text.rfind("Copy") if text.endswith(" words") else -1
    return text[:at].rstrip() if at >= 0 and FOOTER.fullmatch(text, at) else text
