"""An evaluation as one HTML page that needs nothing else: no network, and a script for searching only.

Questions, answers, replies of judges and names are hostile: they reach the page as escaped text only.
"""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup
from pydantic import ValidationError

from ochat_ray.errors import DataError
from ochat_ray.eval.report.charts import words
from ochat_ray.eval.report.schema import Report
from ochat_ray.eval.report.view import context, said
from ochat_ray.eval.statistics.pairs import OUTCOMES
from ochat_ray.html_page import environment, policy, read
from ochat_ray.storage import writing

DATA = "eval.json"
PAGE = "eval.html"
FAULTS = 3
"""That are told of a file that is not a report."""
_HERE = Path(__file__).parent


def render(report: Report) -> str:
    """The page. The same for equal reports; made of the report alone."""
    style, script = read(_HERE, "page.css"), read(_HERE, "page.js")
    templates = environment(_HERE)
    templates.filters.update(words=words, said=said, outcome=lambda value: OUTCOMES.get(value, "\u2013"))
    return templates.get_template("page.html.jinja").render(
        context(report), policy=policy(style, script), style=Markup(style), script=Markup(script)
    )


def write_report(report: Report, folder: Path) -> None:
    """Write eval.json and eval.html into a folder, which is made; each appears whole."""
    for name, text in ((DATA, report.model_dump_json()), (PAGE, render(report))):
        with writing(folder / name) as aside:
            aside.write_text(text, encoding="utf-8")


def read_report(path: Path) -> Report:
    """The report of an eval.json, or of the folder it is in. Raises DataError telling what is wrong."""
    path = path / DATA if path.is_dir() else path
    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the path of an {DATA}") from error
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        told = [f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in faults[:FAULTS]]
        raise DataError(
            f"{path}: not a report of an evaluation: {'; '.join(told)}; make it again from its judgments"
        ) from None
