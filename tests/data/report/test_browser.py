"""The page in a real Chromium: silent, offline, answering the pointer, and not fooled by texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.data.report.page import render
from ochat_ray.data.report.schema import Report
from tests.chromium import Watched, chromium
from tests.data.report.reports import NASTY, empty, full

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a report; what it complains about or asks the network for fails the test at its end."""
    watched = Watched(browser, 1280, 1000)

    def visit(report: Report, **options: Any) -> Any:
        file = tmp_path / "report.html"
        file.write_text(render(report), encoding="utf-8")
        return watched.open(file.as_uri(), **options)

    yield visit
    watched.close()
    assert watched.said == []
    assert watched.asked
    assert all(url.startswith(tmp_path.as_uri()) or url == "data:," for url in watched.asked), watched.asked


def point_at(page: Any, index: int) -> tuple[float, float]:
    """Move the pointer to the dot of a point; returns where that is."""
    page.locator("#plot").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """(index) => {
            const [x, y] = JSON.parse(document.getElementById("map-data").textContent).points[index];
            const plane = document.getElementById("plane");
            const at = new DOMPoint(x, y).matrixTransform(plane.getScreenCTM());
            return [at.x, at.y];
        }""",
        index,
    )
    page.mouse.move(x + 1, y + 1)
    return x + 1, y + 1


def dots(page: Any, selector: str) -> int:
    """How many dots the visible paths draw."""
    count: int = page.evaluate(
        """(selector) => [...document.querySelectorAll(selector)]
            .filter((path) => getComputedStyle(path.parentNode).display !== "none")
            .reduce((sum, path) => sum + path.getAttribute("d").split("M").length - 1, 0)""",
        selector,
    )
    return count


def test_pointing_shows_the_texts_and_a_click_holds_them(visit: Open) -> None:
    page = visit(full())
    assert page.locator("#card").is_hidden()
    x, y = point_at(page, 13)
    assert page.locator("#card-question").inner_text() == "How do I sort a list? question13"
    assert page.locator("#card-answer").inner_text() == "How do I sort a list? answer13"
    assert "id13" in page.locator("#card-who").inner_text()
    page.mouse.click(x, y)
    point_at(page, 20)
    assert page.locator("#card-question").inner_text().endswith("question13")
    page.locator("#card-close").click()
    assert page.locator("#card").is_hidden()


def test_keyboard_goes_from_point_to_point(visit: Open) -> None:
    page = visit(full())
    page.locator("#plot").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#card-question").inner_text().endswith("question1")
    page.keyboard.press("ArrowUp")
    assert page.locator("#card-question").inner_text().endswith("question8")
    page.keyboard.press("Enter")
    assert page.locator("#card-close").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()


def test_colours_switch_with_their_legend(visit: Open) -> None:
    page = visit(full())
    for by, entries in (("topic", 3), ("model", 2), ("language", 2)):
        page.click(f"label[for=by-{by}]")
        assert page.locator(".legend:visible li").count() == entries
        assert dots(page, f".series.{by} path") == 60
        assert dots(page, ".series path") == 60


def test_search_leaves_the_points_that_contain_the_word(visit: Open) -> None:
    page = visit(full())
    page.fill("#find", "QUESTION13")
    assert page.locator("#found").inner_text() == "1 of 60"
    assert dots(page, ".series path") == 1
    assert dots(page, "#rest") == 59
    page.keyboard.press("Enter")
    assert page.locator("#card-question").inner_text().endswith("question13")
    page.fill("#find", "nowhere to be found")
    assert dots(page, ".series path") == 0
    assert page.locator("#card").is_hidden()
    page.fill("#find", "")
    assert dots(page, ".series path") == 60


def test_entries_of_the_legend_are_shown_alone(visit: Open) -> None:
    page = visit(full())
    page.locator(".legend.topic button").nth(1).click()
    assert dots(page, ".series path") == 20
    page.locator(".legend.topic button").nth(2).click()
    assert dots(page, ".series path") == 40
    page.click("label[for=by-language]")
    assert dots(page, ".series path") == 60


def test_zoom_and_drag_keep_pointing_true(visit: Open) -> None:
    page = visit(full())
    page.click("#in")
    page.click("#in")
    box = page.locator("#plot").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 220, box["y"] + 360, steps=4)
    page.mouse.up()
    assert page.locator("#card").is_hidden()
    point_at(page, 31)
    assert page.locator("#card-question").inner_text().endswith("question31")
    page.click("#whole")
    point_at(page, 0)
    assert page.locator("#card-question").inner_text().endswith("question0")


@pytest.mark.parametrize("text", NASTY)
def test_nasty_text_is_shown_as_it_is_and_runs_nothing(visit: Open, text: str) -> None:
    page = visit(full(text))
    point_at(page, 13)
    assert page.evaluate("document.getElementById('card-question').textContent") == f"{text} question13"
    shown = page.evaluate("[...document.querySelectorAll('#examples pre')].map((pre) => pre.textContent)")
    assert shown == [f"<p>{text}</p>", text]
    assert page.evaluate("document.querySelector('h1').textContent") == text
    assert page.evaluate("document.title") == text.replace("\t", " ")
    assert page.evaluate("window.owned") is None
    assert page.evaluate("document.querySelectorAll('img, textarea, main script').length") == 0


def test_policy_stops_a_script_that_got_in_all_the_same(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render(full()).replace("</main>", "<script>window.owned = 1</script></main>"), "utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    assert page.evaluate("window.owned") is None
    assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"
    page.close()


@pytest.mark.parametrize("width", [375, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_at_any_width(visit: Open, width: int, scheme: str) -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 8
    page = visit(full(long), viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_empty_report_opens_silently(visit: Open) -> None:
    page = visit(empty())
    assert page.locator(".none").count() >= 9


def test_page_is_whole_without_scripts(visit: Open) -> None:
    page = visit(full(), java_script_enabled=False)
    assert page.locator(".series.topic path").first.is_visible()
    assert page.locator(".find").is_hidden()
    page.click("label[for=by-model]")
    assert page.locator(".legend.model").is_visible()
    assert page.locator(".legend.topic").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(visit: Open, scheme: str) -> None:
    page = visit(full(), color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    faint = page.evaluate(
        """() => {
            const channels = (css) => css.match(/[\\d.]+/g).map(Number);
            const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
                .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            const ground = (node) => {
                for (let at = node; at; at = at.parentElement) {
                    const colour = channels(getComputedStyle(at).backgroundColor);
                    if (colour.length < 4 || colour[3] > 0) return colour;
                }
            };
            const faint = [];
            for (const node of document.querySelectorAll("body *")) {
                const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
                if (!own || !node.getClientRects().length || node.closest("script, style")) continue;
                const style = getComputedStyle(node);
                const ink = channels(node instanceof SVGElement ? style.fill : style.color);
                const pair = [light(ink), light(ground(node))];
                const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
                if (ratio < 4.5) faint.push(`${node.outerHTML.slice(0, 80)} ${ratio.toFixed(2)}`);
            }
            return faint;
        }"""
    )
    assert faint == []
