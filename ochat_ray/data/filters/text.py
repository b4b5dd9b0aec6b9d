"""What several filters look at: the prose of a message, without its code."""

from __future__ import annotations

import re

FENCED = re.compile(
    r"^[ \t>]*(?:[-*+] |\d+[.)] )?(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)


def without_code(markdown: str) -> str:
    """Markdown without its fenced code."""
    return FENCED.sub("", markdown) if "```" in markdown or "~~~" in markdown else markdown
