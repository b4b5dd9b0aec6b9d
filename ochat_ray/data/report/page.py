"""A report as one HTML page that needs nothing else: no network, and no script for anything but pointing.

Texts of conversations are hostile. They reach the page as escaped text or as JSON in a data block, and a
content security policy lets nothing run or load but the page's own style and script, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ochat_ray.data.report.schema import Report
from ochat_ray.data.report.view import MOST_ROWS, context, shown, tags

_HERE = Path(__file__).parent


def render(report: Report | dict[str, Any]) -> str:
    """The page. The same for equal reports; made of the report alone."""
    if not isinstance(report, Report):
        report = Report.model_validate(report)
    style, script = _read("page.css"), _read("page.js")
    filled = context(report)
    drawn = filled["map"]
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            filled,
            policy=_policy(style, script),
            style=Markup(style),
            script=Markup(script),
            data=_data_block(drawn.data) if drawn else "",
            most_rows=MOST_ROWS,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=lambda value: f"{value:,}", shown=shown, tags=tags)
    return environment


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing loads, nothing runs, except these two."""
    allowed = f"style-src {_hash(style)}; script-src {_hash(script)}; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data_block(data: dict[str, Any]) -> Markup:
    """JSON that cannot end its script element, nor begin anything in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)
