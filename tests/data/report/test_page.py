"""The page as text: what is on it, that texts stay in their place, and that equal reports are equal pages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise
from typing import Any

import pytest
from lxml import etree
from lxml import html as lxml_html
from pydantic import ValidationError

from ochat_ray.data.report.names import topic_name
from ochat_ray.data.report.page import render
from ochat_ray.data.report.schema import Map, Report, Stage, start, to_json
from tests.data.report.reports import EMPTY, NASTY, empty, full

Page = Any


def parse(page: str) -> Page:
    return lxml_html.document_fromstring(page.encode(), parser=lxml_html.HTMLParser(encoding="utf-8"))


def section(page: Page, name: str) -> str:
    found = page.get_element_by_id(name)
    return " ".join(" ".join(found.itertext()).split())


def test_every_part_is_on_the_page_with_its_numbers() -> None:
    page = parse(render(full()))
    assert "3,000 conversations and documents" in " ".join(page.text_content().split())
    assert "401 13.4% of those read" in " ".join(page.text_content().split())
    assert "duplicate 190" in section(page, "funnel")
    assert "answered by a model that is not wanted" in section(page, "funnel")
    assert "60 of the 401 conversations" in section(page, "map")
    assert "1,234,567 82.5%" in section(page, "tokens")
    assert "145 (36.2%) lost tokens to the context of 4,096" in section(page, "tokens")
    assert "Half of them have fewer than about 12,200 characters" in section(page, "lengths")
    assert "not stated 2,000 0 0%" in section(page, "models")
    assert "7 more" in section(page, "models")
    assert "English (en) 2,500 390 15.6%" in section(page, "languages")
    assert "31 conversations differ in little from others and form 12 clusters" in section(page, "near")
    assert "and 3 more" in section(page, "near")
    assert "As kept" in section(page, "examples")
    assert "ray 2.60.0" in section(page, "settings")


def test_shares_of_those_turned_away_are_of_those_read_and_say_so() -> None:
    page = parse(render(full()))
    assert "Of those read" in section(page, "funnel")
    assert "model answered by a model that is not wanted 2,234 74.5%" in section(page, "funnel")


def test_conversations_that_lost_tokens_are_called_cut_where_they_are_kept() -> None:
    report = full()
    assert "Conversations 397 4 145 cut" in section(parse(render(report)), "tokens")
    dropped = report.replace(tokens=[report.tokens[0].replace(long="drop")])
    assert "145 turned away" in section(parse(render(dropped)), "tokens")


def test_the_map_says_why_it_does_not_show_all() -> None:
    assert "conversations kept, a sample by a hash of their ids, laid out" in section(
        parse(render(full())), "map"
    )


def test_several_inputs_are_named_and_one_is_named_once() -> None:
    report = full().replace(title="big, pages", input="big, pages")
    about = parse(render(report)).find_class("about")[0].text_content()
    assert about.startswith("By the recipe openchat")
    several = report.replace(title="a, b, c and 2 more", input="a, b, c, d, e")
    assert "a, b, c, d, e, by the recipe" in parse(render(several)).find_class("about")[0].text_content()


def test_words_from_the_right_keep_to_themselves_between_commas() -> None:
    hebrew = "\u05e9\u05dc\u05d5\u05dd"
    assert topic_name(f"{hebrew}, list, sort") == f"\u2068{hebrew}\u2069, list, sort"
    assert topic_name("sort, list") == "sort, list"
    assert topic_name("") == "(unnamed)"


def test_empty_report_says_none_everywhere() -> None:
    page = parse(render(empty()))
    for name in ("funnel", "map", "tokens", "models", "languages", "near", "examples", "settings", "lengths"):
        assert "None: " in section(page, name), name
    assert "0% of those read" in page.text_content()


@pytest.mark.parametrize(
    "changes",
    [
        {"funnel": [Stage(stage="read", count=9), Stage(stage="kept", count=0, dropped={"model": 9})]},
        {"funnel": [Stage(stage="kept", count=9)]},
        {"messages": EMPTY, "chars": EMPTY},
        {"map": Map(of=0, points=(), topics=())},
        {
            "near_duplicates": {
                "action": "group",
                "clusters": 0,
                "conversations": 0,
                "sizes": {},
                "largest": [],
            }
        },
        {"models": [{"name": None, "read": 0, "kept": 0}]},
        {"languages": [{"code": "xx", "read": 1, "kept": 1}]},
    ],
)
def test_parts_that_are_empty_or_single_render(changes: dict[str, object]) -> None:
    page = parse(render(full().replace(**changes)))
    assert len(page.xpath("//section")) == 9


def test_no_text_breaks_out_of_the_page() -> None:
    plain, nasty = parse(render(full("plain"))), parse(render(full(" ".join(NASTY))))

    def tags(page: Page) -> list[str]:
        # Tags that are shown as text stand in <i>: their number may differ.
        return [node.tag for node in page.iter() if isinstance(node.tag, str) and node.tag != "i"]

    assert tags(nasty) == tags(plain)
    for node in nasty.iter():
        if isinstance(node.tag, str):
            assert not [name for name in node.attrib if name.startswith("on") or name == "style"]


def test_data_block_holds_the_texts_and_no_markup() -> None:
    page = render(full("\n".join(NASTY)))
    block = re.search(r'<script type="application/json" id="map-data">(.*?)</script>', page, re.S)
    assert block
    assert not set("<>&\u2028\u2029") & set(block[1])
    point = json.loads(block[1])["points"][3]
    assert point[3] == "\n".join(NASTY) + " question3"


def test_policy_allows_the_style_and_the_script_of_the_page_and_nothing_else() -> None:
    page = render(full())
    policy = parse(page).xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    for tag in ("style", "script"):
        text = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)[-1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_page_refers_to_nothing_outside() -> None:
    page = parse(render(full()))
    urls = page.xpath("//@src | //@href | //@action | //@srcset | //@poster")
    assert urls
    assert all(url.startswith("#") or url == "data:," for url in urls)
    assert "url(" not in render(full()).replace("data:", "")


def test_page_is_well_built() -> None:
    page = parse(render(full()))
    assert [len(page.xpath(f"//{tag}")) for tag in ("h1", "main", "nav")] == [1, 1, 1]
    ids = page.xpath("//@id")
    assert len(ids) == len(set(ids))
    for target in page.xpath("//nav//a/@href"):
        assert target[1:] in ids
    for cell in page.xpath("//th"):
        assert cell.get("scope") in ("col", "row"), etree.tostring(cell)
    for figure in page.xpath("//figure[.//svg[@role='img']]"):
        assert figure.xpath(".//figcaption | .//h4")
    headings = [int(node.tag[1]) for node in page.iter("h1", "h2", "h3", "h4")]
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_equal_reports_give_equal_bytes() -> None:
    report = full()
    backwards = report.model_dump(mode="json")
    backwards["funnel"] = [
        {**stage, "dropped": dict(reversed(stage["dropped"].items()))} for stage in backwards["funnel"]
    ]
    backwards["models"].reverse()
    assert render(Report.model_validate(backwards)) == render(report)
    assert render(backwards) == render(report)
    again = Report.model_validate_json(to_json(report))
    assert again == report
    assert to_json(again) == to_json(report)


def test_json_is_plain_and_sorted() -> None:
    data = json.loads(to_json(full()))
    assert list(data) == sorted(data)
    assert data["near_duplicates"]["sizes"] == {"2": 10, "4": 1, "7": 1}
    assert sum(n for stage in data["funnel"] for n in stage["dropped"].values()) + 401 == 3000


def test_lone_surrogates_and_control_characters_reach_the_page_as_something_visible() -> None:
    report = full("a\ud800b\x00c\x1b[31m")
    assert "\ufffd" in report.title
    to_json(report)
    page = parse(render(report).encode().decode())
    assert "a\ufffdb\u2400c\u241b[31m" in page.text_content()


def test_funnel_that_loses_conversations_is_refused() -> None:
    with pytest.raises(ValidationError, match="`kept` is not what was before"):
        full().replace(funnel=[Stage(stage="read", count=9), Stage(stage="kept", count=7, dropped={"a": 1})])


def test_rejected_is_the_sum_over_stages() -> None:
    report = full()
    assert report.rejected == {
        "model": 2234,
        "duplicate": 190,
        "no_data": 85,
        "near_duplicate": 77,
        "bad_json": 13,
    }
    assert report.kept + sum(report.rejected.values()) == report.read


def test_start_cuts_long_texts_only() -> None:
    assert start("  short\n") == "short"
    assert start("x" * 1000) == "x" * 239 + "\u2026"
