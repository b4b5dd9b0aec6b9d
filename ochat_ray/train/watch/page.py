"""training.html: a run's curves as one page that needs nothing else, and a script for pointing only.

Names of classes and conversations are other people's: they reach the page as escaped text or as JSON in a
data block, and a content security policy lets nothing run or load but the page's own style and script.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from markupsafe import Markup

from ochat_ray.config import Recipe
from ochat_ray.html_page import data_block, environment, policy, read
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
    style, script = read(_HERE, "page.css"), read(_HERE, "page.js")
    drawing = Drawing(logs, recipe.train)
    return (
        environment(_HERE)
        .get_template("page.html.jinja")
        .render(
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
            data=data_block(drawing.hover()),
            policy=policy(style, script),
        )
    )
