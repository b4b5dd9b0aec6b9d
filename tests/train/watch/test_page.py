"""training.html: every part is there, nothing of other people's is markup, and it answers the pointer."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.config import Recipe, load_recipe
from ochat_ray.train.watch.logs import Logs
from ochat_ray.train.watch.page import render
from tests.chromium import chromium
from tests.train.watch.runs import skipped_line, speed_line, step_line

NASTY = "</script><script>alert(1)</script><b>"


def logs(steps: int, *, gpu: bool = True) -> Logs:
    """A run that was started again at its half, one step left out, an evaluation every ten steps."""
    losses: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        losses.append(
            skipped_line(step, [NASTY] * 9)
            if step == 7
            else step_line(step, epoch=1 + 2 * step // (steps + 1))
        )
        if step % 10 == 0:
            losses.append(
                {"step": step, "eval_loss": 1 + 1 / step, "eval_losses": {"gpt4": 0.5, NASTY: 0.25}}
            )
    speed = [speed_line(step, **({"mfu": 0.4} if gpu else {})) for step in range(1, steps + 1)]
    return Logs(losses, speed, [{"step": 0, "workers": 2}, {"step": steps // 2, "workers": 1}])


@pytest.fixture(scope="module")
def openchat() -> Recipe:
    return load_recipe("openchat")


def titles(page: str) -> list[str]:
    return re.findall(r"<h3>([^<]*)</h3>", page)


def test_a_whole_run(openchat: Recipe) -> None:
    page = render(logs(60), openchat, title="run <1>", planned=60)
    assert titles(page) == [
        "Loss",
        "Loss on held-out conversations, by class",
        "Learning rate",
        "Gradient norm",
        "Tokens per second",
        "Packing efficiency, %",
        "Model FLOPs utilisation, %",
        "Memory, GB",
        "Steps left out",
    ]
    assert "<title>run &lt;1&gt;</title>" in page
    assert "all of the run" in page and "<span>the lowest</span>" in page
    assert page.count("<title>epoch 2</title>") == page.count("<title>started again at step 30</title>") == 8
    assert page.count("<title>step 7 left out</title>") == 1
    assert "learning_rate" in page  # the settings


def test_other_peoples_names_are_text(openchat: Recipe) -> None:
    page = render(logs(60), openchat, title=NASTY, planned=60)
    assert "<script>alert" not in page and NASTY not in page
    data = json.loads(re.search(r'id="steps">(.*?)</script>', page).group(1))
    assert NASTY in data["evals"]["classes"]


def test_what_is_not_known_is_not_drawn(openchat: Recipe) -> None:
    plain = Logs([step_line(1), step_line(2)], [], [])
    assert titles(render(plain, openchat, title="x", planned=9)) == ["Loss", "Learning rate", "Gradient norm"]


def test_a_run_without_a_step(openchat: Recipe) -> None:
    page = render(Logs([], [], []), openchat, title="x", planned=9)
    assert "No step was finished." in page and "of 9" in page and not titles(page)


def test_what_is_no_number_is_not_drawn(openchat: Recipe) -> None:
    odd = [step_line(1, grad_norm=None), step_line(2, grad_norm=math.inf), step_line(3, loss=math.nan)]
    assert titles(render(Logs(odd, [], []), openchat, title="x", planned=9)) == [
        "Loss",
        "Learning rate",
        "Gradient norm",
    ]


def test_all_steps_left_out(openchat: Recipe) -> None:
    page = render(Logs([skipped_line(1, ["a"])], [], []), openchat, title="x", planned=9)
    assert titles(page) == ["Learning rate", "Steps left out"]


def test_long_runs_stay_small(openchat: Recipe) -> None:
    assert len(render(logs(20_000), openchat, title="x", planned=20_000)) < 800_000


def test_equal_runs_give_equal_pages(openchat: Recipe) -> None:
    assert render(logs(60), openchat, title="x", planned=60) == render(
        logs(60), openchat, title="x", planned=60
    )


def test_it_is_silent_offline_and_answers_pointer_and_keys(openchat: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "training.html"
    file.write_text(render(logs(60), openchat, title=NASTY, planned=60), encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        plot, now = page.locator(".plot").first, page.locator(".now")
        assert not now.first.is_visible()
        box = plot.bounding_box()
        plot.hover(position={"x": box["width"] * 40.2 / 59, "y": 60})
        assert now.first.text_content() == "step 41, epoch 2, 0.04878, held-out 1.025"
        assert now.nth(1).text_content() == f"after step 40, all 1.025, {NASTY} 0.25, gpt4 0.5"
        assert "0.4" not in now.nth(2).text_content() and "40" in now.nth(6).text_content()
        plot.press("ArrowLeft")
        assert now.first.text_content().startswith("step 40, ")
        plot.press("Escape")
        assert not now.first.is_visible()
        for width in (1200, 360):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == [] and asked == [file.as_uri()]
