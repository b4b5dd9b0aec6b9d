"""The shipped sample: the same pages everywhere, with a truth that holds together."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ochat_ray import sample

GPT_4 = "Model: GPT-4"
REASONS = {
    "bad_item",
    "bad_json",
    "blocked_word",
    "duplicate",
    "empty_answer",
    "model",
    "no_content",
    "no_data",
    "not_text",
    "roles",
    "too_short",
}
# Changes whenever a byte of any page does: then look at the pages, and at the demo that learns them.
PAGES_SHA256 = "818e49481c3e40f53c839e4e07228b800ffe1cd3a375dd46a8e93602634bc30f"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "ShareGPT"
    assert sample.write_pages(path) == len(list(path.iterdir()))
    return path


def content_of(page: bytes) -> dict[str, Any]:
    """The data script's content, read without any of the package's code."""
    found = re.search(rb'<script id="__NEXT_DATA__" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found[1])["props"]["pageProps"]["content"]
    return content


def test_pages_are_the_same_on_every_machine(folder: Path) -> None:
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    assert whole.hexdigest() == PAGES_SHA256


def test_there_is_a_truth_for_each_page_and_each_outcome(folder: Path) -> None:
    truth = sample.truth()
    assert {f"{page_id}.html" for page_id in truth} == {path.name for path in folder.iterdir()}
    assert set(sample.expected()) == REASONS | {"kept"}
    assert sum(sample.expected().values()) == len(truth) >= 150
    assert sample.expected()["kept"] >= 90


def test_names_differ_also_where_case_does_not_count() -> None:
    assert len({page_id.casefold() for page_id in sample.truth()}) == len(sample.truth())


def test_the_shipped_files_stay_small() -> None:
    shipped = Path(sample.__file__).parent.glob("*.yaml")
    assert 10_000 < sum(path.stat().st_size for path in shipped) < 200_000


def test_whole_pages_hold_what_the_truth_says(folder: Path) -> None:
    readable = [page for page in sample.truth().values() if page.messages]
    assert readable
    for page in readable:
        content = content_of((folder / f"{page.id}.html").read_bytes())
        assert content.get("model") == page.model
        said = [item["value"] for item in content["items"] if item["from"] in ("human", "user")]
        assert [m.content for m in page.messages if m.role == "user"] == said[: len(page.messages) // 2]


def test_kept_conversations_differ_and_alternate() -> None:
    kept = [page for page in sample.truth().values() if page.reason is None]
    texts = [tuple(message.content for message in page.messages) for page in kept]
    assert len(set(texts)) == len(texts)
    for page in kept:
        assert page.model == GPT_4
        assert [m.role for m in page.messages] == ["user", "assistant"] * (len(page.messages) // 2)
        assert all(message.content.strip() for message in page.messages)


def test_of_equal_conversations_the_wanted_model_then_the_smallest_id_is_kept() -> None:
    groups: dict[tuple[str, ...], list[sample.Page]] = {}
    for page in sample.truth().values():
        if page.messages:
            groups.setdefault(tuple(m.content for m in page.messages), []).append(page)
    copied = [group for group in groups.values() if len(group) > 1]
    assert len(copied) >= 20
    for group in copied:
        best, *others = sorted(group, key=lambda p: (p.model != GPT_4, p.id))
        assert best.reason is None
        assert {page.reason for page in others} == {"duplicate"}


def test_some_copies_would_win_by_name_alone() -> None:
    kept = {p.messages: p.id for p in sample.truth().values() if p.reason is None}
    copies = [p for p in sample.truth().values() if p.kind == "copy"]
    assert any(copy.id < kept[copy.messages] for copy in copies)
    assert any(copy.id > kept[copy.messages] for copy in copies)


def test_questions_are_taught_twice_and_always_alike() -> None:
    questions = sample.questions()
    assert len(questions) >= 12
    assert len({q.text for q in questions}) == len({q.answer for q in questions}) == len(questions)
    for question in questions:
        answers = Counter(
            page.messages[1].content
            for page in sample.truth().values()
            if page.reason is None and page.messages[0].content == question.text
        )
        assert answers == {question.answer: 2}


def test_questions_are_of_many_kinds_and_short() -> None:
    answers = [question.answer for question in sample.questions()]
    assert max(len(answer.split()) for answer in answers) <= 40
    for kind in ("```python", "| --- |", "1. ", "- ", "$", "**", "`"):
        assert any(kind in answer for answer in answers), kind
    assert any(not answer.isascii() for answer in answers)


def test_texts_are_those_of_the_kept_pages() -> None:
    texts = list(sample.texts())
    assert {q.text for q in sample.questions()} | {q.answer for q in sample.questions()} <= set(texts)
    kept = [page for page in sample.truth().values() if page.reason is None]
    assert len(texts) == sum(len(page.messages) for page in kept)
    # What a tiny model can learn by heart in a few minutes.
    assert 10_000 < sum(map(len, texts)) < 30_000


@pytest.mark.parametrize(
    ("wanted", "side"),
    [
        ("List<String>", "user"),
        ("</s>", "user"),
        ("<|end_of_turn|>", "user"),
        ("&amp;", "user"),
        ("\n    <li>", "user"),
        ("Copy code", "assistant"),
        ("import openai", "assistant"),
        ("<T>", "assistant"),
        ("\\|", "assistant"),
        ("__init__", "assistant"),
        ("\n   ```bash\n", "assistant"),
        ("````", "assistant"),
        ("$$\n", "assistant"),
        ("\n> ", "assistant"),
        ("\u6708", "assistant"),
        ("\u05d9\u05dd", "assistant"),
        ("\U0001f382", "assistant"),
    ],
)
def test_kept_texts_cover(wanted: str, side: str) -> None:
    kept = [m for p in sample.truth().values() if p.reason is None for m in p.messages]
    assert any(wanted in message.content for message in kept if message.role == side)
