"""The page in a real Chromium: silent, offline, searchable, and not fooled by texts."""

from __future__ import annotations

import pytest

from ochat_ray.eval.report.summary import summarise
from tests.eval.report.conftest import Visit
from tests.eval.report.made import ALL_NASTY, NASTY, full, judgments


@pytest.mark.parametrize("nasty", ["", ALL_NASTY], ids=["plain", "nasty"])
def test_texts_are_texts_and_the_page_fits(visit: Visit, nasty: str) -> None:
    page = visit(full(nasty))
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for width in (1200, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("script").count() == 1 and page.locator("style").count() == 1
    assert page.locator("img, iframe, [onerror], [onload], [onmouseover]").count() == 0
    for one in NASTY[:-1] if nasty else ():
        assert one in page.locator("h1").inner_text()
        assert one in page.locator(".answer").first.inner_text()


def test_words_are_found_in_questions_answers_and_judgments(visit: Visit) -> None:
    page = visit(full())
    questions, find = page.locator("#questions > details"), page.locator("#find")
    assert questions.count() == 12
    for word, left in (("what about 3?", 1), ("GOOD SAYS", 12), ("compared fair on q7", 1), ("nowhere", 0)):
        find.fill(word)
        assert page.locator("#questions > details:visible").count() == left, word
        assert page.locator("#found").inner_text() == f"{left} of 12"
    find.fill("")
    assert page.locator("#questions > details:visible").count() == 12


def test_a_link_opens_the_question_also_where_the_search_hid_it(visit: Visit) -> None:
    page = visit(full())
    page.locator("#find").fill("nowhere")
    link = page.locator("#people a").first
    link.click()
    question = page.locator(link.get_attribute("href"))
    assert question.is_visible() and question.get_attribute("open") is not None


def test_dark_is_dark_and_paper_is_light(visit: Visit) -> None:
    page = visit(full(), color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(22, 24, 27)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()


def test_nothing_judged_and_nothing_understood_are_told(visit: Visit) -> None:
    assert "Nothing was judged." in visit(summarise([])).locator("main").inner_text()
    lost = [one for one in judgments() if one.value is None]
    page = visit(summarise(lost))
    said = page.locator("main").inner_text()
    assert "There are no figures: 2 of 2 replies" in said
    assert "good against base by judge has no figures: 1 of 1 replies were not understood." in said
    page.locator("#questions summary").first.click()
    assert "I compared good on q0." in page.locator("#questions").text_content()
