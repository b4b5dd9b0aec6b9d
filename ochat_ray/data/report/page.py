"""A report as one HTML page that needs nothing else: no network, and no script for anything but pointing.

Texts of conversations are hostile. They reach the page as escaped text or as JSON in a data block, and a
content security policy lets nothing run or load but the page's own style and script, by their hashes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from ochat_ray.data.report.schema import Report
from ochat_ray.data.report.view import MOST_ROWS, context, tags
from ochat_ray.html_page import data_block, environment, policy, read

_HERE = Path(__file__).parent


def render(report: Report | dict[str, Any]) -> str:
    """The page. The same for equal reports; made of the report alone."""
    if not isinstance(report, Report):
        report = Report.model_validate(report)
    style, script = read(_HERE, "page.css"), read(_HERE, "page.js")
    filled = context(report)
    drawn = filled["map"]
    templates = environment(_HERE)
    templates.filters["tags"] = tags
    return templates.get_template("page.html.jinja").render(
        filled,
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=data_block(drawn.data) if drawn else "",
        most_rows=MOST_ROWS,
    )
