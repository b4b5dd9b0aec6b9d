"""What several filters look at: the prose of a message, and which scripts put no spaces between words."""

from __future__ import annotations

import re

# Scripts that put no spaces between words, for a character class: Thai to Lao, Burmese, Khmer, Japanese and
# Chinese. Their characters are taken for words.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"

FENCED = re.compile(
    r"^[ \t>]*(?:[-*+] |\d+[.)] )?(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)


def without_code(markdown: str) -> str:
    """Markdown without its fenced code."""
    return FENCED.sub("", markdown) if "```" in markdown or "~~~" in markdown else markdown
