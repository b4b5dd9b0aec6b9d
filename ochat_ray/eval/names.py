"""Names of models as names of files."""

from __future__ import annotations

from urllib.parse import quote


def file_name(name: str) -> str:
    """A name that may hold slashes, dots and any letters, as one part of a path."""
    quoted = quote(name, safe=" ")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted
