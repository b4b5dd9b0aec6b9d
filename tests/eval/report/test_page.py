"""The files: what eval.json holds comes back, what is on the page and what is not."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from ochat_ray.errors import DataError
from ochat_ray.eval.report.page import DATA, PAGE, read_report, render, write_report
from ochat_ray.eval.report.reference import published
from ochat_ray.eval.report.summary import summarise
from tests.eval.report.made import ALL_NASTY, full, grades, judgments, questions, uneven

SECTIONS = [
    *("board", "ratings", "outcomes", "categories", "order", "calibration", "judges", "lengths", "people"),
    *("tasks", "unread", "missing", "bills", "beside"),
]


def parse(page: str) -> Any:
    return html.document_fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))


def sections(page: Any) -> list[str]:
    return page.xpath("//section/@id")


def text(page: Any, section: str) -> str:
    return " ".join(" ".join(page.get_element_by_id(section).itertext()).split())


@pytest.mark.parametrize("nasty", ["", ALL_NASTY], ids=["plain", "nasty"])
def test_a_report_comes_back_as_it_was(tmp_path: Path, nasty: str) -> None:
    report = full(nasty)
    write_report(report, tmp_path / "out")
    assert read_report(tmp_path / "out" / DATA) == read_report(tmp_path / "out") == report
    assert (tmp_path / "out" / PAGE).read_text(encoding="utf-8") == render(report)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read .*give the path"),
        ("{", "not a report of an evaluation: the file: Invalid JSON"),
        ("[]", "the file: Input should be"),
        (
            '{"title": "x", "questions": -1, "judgments": 0, "unparsed": 0, "extra": 1}',
            "questions: .*extra: ",
        ),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / DATA).write_text(content)
    with pytest.raises(DataError, match=told) as error:
        read_report(tmp_path / DATA)
    assert str(tmp_path / DATA) in str(error.value)


def test_every_section_is_there_and_linked() -> None:
    page = parse(render(full()))
    assert sections(page) == SECTIONS
    assert page.xpath("//nav//a/@href") == [f"#{name}" for name in SECTIONS]


def test_sections_without_content_do_not_appear() -> None:
    one_order = [one for one in judgments(samples=1) if not one.swapped]
    assert sections(parse(render(summarise(one_order)))) == ["board", "outcomes", "categories", "beside"]
    assert sections(parse(render(summarise(grades())))) == ["board", "categories", "beside"]
    assert sections(parse(render(summarise([])))) == []


def test_figures_are_on_the_page() -> None:
    report = full()
    page = parse(render(report))
    good = next(one for one in report.pairs if one.model == "good" and one.judge == "judge")
    row = f"good {good.win_rate.value:.1f} {good.win_rate.low:.1f} to {good.win_rate.high:.1f}"
    assert row in text(page, "board")
    assert f"{good.percent.value:.1f} {good.percent.low:.1f} to {good.percent.high:.1f}" in text(
        page, "board"
    )
    assert f"good {good.tally.wins} {good.tally.ties} {good.tally.losses}" in text(page, "outcomes")
    assert f"{good.bias.model_first:.1f} {good.bias.baseline_first:.1f}" in text(page, "order")
    assert "Grades of single answers, by grader" in text(page, "board") and "6.50" in text(page, "board")
    assert "1,100 1,000 to \u2013" in text(page, "ratings")
    assert "judge 7 429 question 0 question 1 question 2 question 3 question 4 and 2 more" in text(
        page, "missing"
    )
    assert "own 2 1,000 200 4 \u2013 All 4 2,000 400 7 0.25" in text(page, "bills")
    assert "good mmlu acc 0.5432 0.0100" in text(page, "tasks")
    assert "judge other" in text(page, "judges")


def test_length_controlled_rates_stand_beside_win_rates_where_any_is_known() -> None:
    report = summarise(judgments(), answers=uneven()[1:])
    page = parse(render(report))
    _, fair = report.pairs
    rows = {row.findtext(".//bdi"): row for row in page.xpath("//section[@id='board']//tbody/tr")}
    [cell] = rows["fair"].xpath("./td[3]")
    figure = fair.length_controlled
    assert " ".join(cell.itertext()) == f"{figure.value:.1f} {figure.low:.1f} to {figure.high:.1f}"
    assert rows["good"].xpath("./td[3]")[0].text == "\u2013"
    assert page.xpath("//section[@id='board']//thead//th[3]/text()") == ["Length-controlled, %"]
    assert "were the answers as long as the baseline's (Dubois et al. 2024" in text(page, "board")
    assert "it would be an extrapolation" in text(page, "board")
    assert "ength-controlled" not in render(summarise(judgments()))


def test_the_heat_map_has_a_cell_for_each_model_and_category() -> None:
    report = full()
    page = parse(render(report))
    maps = page.xpath("//section[@id='categories']//table[@class='heat']")
    assert len(maps) == 4  # two judges of scores, one of verdicts, one of grades
    assert maps[0].xpath(".//thead//th//text()") == ["math", "writing"]
    good = next(row for row in maps[0].xpath(".//tbody/tr") if row.findtext(".//bdi") == "good")
    tallies = next(one for one in report.pairs if one.model == "good").by_category
    assert [cell.text for cell in good.xpath("./td")] == [f"{one.win_rate:.0f}" for one in tallies.values()]
    assert "won" in good.xpath("./td/@title")[0]


def test_both_orders_stand_side_by_side_with_the_words_of_the_judge() -> None:
    page = parse(render(summarise(judgments(), questions=questions())))
    question = page.get_element_by_id("q2")
    said = " ".join(" ".join(question.itertext()).split())
    for part in (
        "model shown first",
        "model shown first, sample 2",
        "baseline shown first",
        "I compared good on q1.",
    ):
        assert part in said


def test_published_figures_stand_beside_ours() -> None:
    report = summarise(judgments(), published=published(["vicuna_bench"]))
    page = parse(render(report))
    rows = page.xpath("//section[@id='published']//tbody/tr")
    names = [row.findtext(".//bdi") for row in rows]
    figures = [float(row.xpath("./td")[0].text) for row in rows]
    assert {"good", "fair", "openchat-8192", "llama"} <= set(names)
    assert figures == sorted(figures, reverse=True)
    assert [row.findtext(".//bdi") for row in rows if row.get("class") == "own"] == ["good", "fair"]


def test_the_policy_allows_the_style_and_script_of_the_page_and_nothing_else() -> None:
    page = render(full(ALL_NASTY))
    [policy] = parse(page).xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)[-1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
