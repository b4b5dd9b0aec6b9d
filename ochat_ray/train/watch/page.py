"""training.html: a run's curves as one page that needs nothing else, and a script for pointing only.

Names of classes and conversations are other people's: they reach the page as escaped text or as JSON in a
data block, and a content security policy lets nothing run or load but the page's own style and script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ochat_ray.config import Recipe
from ochat_ray.storage import writing
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.charts import Drawing
from ochat_ray.train.watch.logs import Logs

_HERE = Path(__file__).parent


def write_page(folders: Folders, recipe: Recipe, planned: int) -> None:
    """Draw the run of an output, as far as it came of its `planned` steps."""
    page = render(Logs.load(folders), recipe, title=folders.output.name, planned=planned)
    with writing(folders.page) as aside:
        aside.write_text(page, encoding="utf-8")


def render(logs: Logs, recipe: Recipe, *, title: str, planned: int) -> str:
    """The page."""
    style, script = _read("page.css"), _read("page.js")
    drawing = Drawing(logs, recipe.train)
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment.get_template("page.html.jinja").render(
        title=title,
        recipe=recipe,
        settings=yaml.safe_dump(recipe.train.model_dump(mode="json"), sort_keys=False),
        logs=logs,
        headline=logs.headline(planned),
        facts=logs.facts(),
        skipped=[entry for entry in logs.steps if "skipped" in entry],
        loss=drawing.loss(),
        classes=drawing.classes(),
        course=drawing.course(),
        speed=drawing.speed(),
        marks=drawing.marks(),
        style=Markup(style),
        script=Markup(script),
        data=_data_block(drawing.hover()),
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data_block(data: dict[str, Any]) -> Markup:
    """JSON that cannot end its script element, nor begin anything in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)
