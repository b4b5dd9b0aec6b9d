"""Pages that are one file, load nothing and hold hostile text: what all of them need to be safe.

Texts reach a page as escaped text or as JSON in a data block, and a content security policy lets nothing
load or run but the page's own style and script, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

# What HTML cannot hold, or would change: shown by its picture.
_CONTROLS = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"} | {0x7F: 0x2421}


def environment(folder: Path) -> Environment:
    """Templates of a folder, which escape all they are given, with the filters `number` and `shown`."""
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(number=lambda value: f"{value:,}", shown=shown)
    return made


def read(folder: Path, name: str) -> str:
    """A file that belongs to a page."""
    return (folder / name).read_text(encoding="utf-8")


def policy(style: str, script: str) -> str:
    """A content security policy: nothing loads, nothing runs, except this style and this script."""
    allowed = f"style-src {_hash(style)}; script-src {_hash(script)}; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def data_block(value: Any) -> Markup:
    """JSON that cannot end its script element, nor begin anything in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def shown(text: str) -> str:
    """A text with the control characters that HTML cannot hold as pictures; nothing else is touched."""
    return text.translate(_CONTROLS)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
