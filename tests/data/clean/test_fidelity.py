"""Fidelity against three thousand made pages whose source Markdown is known, where they are at hand."""

from __future__ import annotations

import pytest

from ochat_ray.config import FilterConfig
from ochat_ray.conversation import Conversation, Rejected
from ochat_ray.data.clean.conversation import clean_page
from ochat_ray.data.clean.fidelity import Fidelity, Share, Turn, code_blocks, words
from ochat_ray.data.clean.markdown import to_markdown
from ochat_ray.data.read.errors import SourceError
from ochat_ray.data.read.page import read_page
from tests.data.conftest import KnownPage

ROLES = {"human": "user", "gpt": "assistant"}
# What each kind of malformed page must be turned away for: when it is read, or for its turns.
UNREADABLE = {
    "bad_nullval": "bad_item",
    "bad_bad_json": "bad_json",
    "bad_trunc": "no_data",
    "bad_404": "no_content",
    "bad_binary": "no_data",
    "bad_no_next": "no_data",
}
UNUSABLE = {"bad_one": "too_short", "bad_empty": "too_short", "bad_roles": "roles"}


@pytest.fixture(scope="module")
def fidelity(known_pages: list[KnownPage]) -> Fidelity:
    counts = Fidelity()
    for truth, page in known_pages:
        if truth["truth"] is None or truth["kind"] in UNREADABLE | UNUSABLE:
            continue
        found = [
            Turn(turn.role, to_markdown(turn.value) if turn.html else turn.value)
            for turn in read_page(page).turns
        ]
        counts.add(found, [Turn(ROLES[who], text) for who, text in truth["truth"]])
    return counts


def share(counts: Share, fewest: int) -> float:
    assert counts.all >= fewest
    return counts.right / counts.all


def test_no_good_page_is_misread(fidelity: Fidelity) -> None:
    assert share(fidelity.understood, 2500) == 1


def test_code_is_exact(fidelity: Fidelity) -> None:
    # What is missing was lost by the pages' maker already: `\\(` in code, shown as `$`.
    assert share(fidelity.code, 5000) >= 0.997


def test_languages_are_exact(fidelity: Fidelity) -> None:
    assert share(fidelity.languages, 5000) == 1


def test_text_is_exact_but_for_how_marks_are_written(fidelity: Fidelity) -> None:
    # What is missing is no part of the pages: HTML in Markdown, which ChatGPT did not show.
    assert share(fidelity.text, 10_000) >= 0.995


def test_people_are_quoted_byte_for_byte(fidelity: Fidelity) -> None:
    assert share(fidelity.people, 10_000) == 1


def test_every_malformed_page_is_found(known_pages: list[KnownPage]) -> None:
    config = FilterConfig.model_validate({"blocked_words": {"words": ()}})
    found: dict[str, set[str | None]] = {}
    for truth, page in known_pages:
        if truth["kind"] in UNREADABLE:
            with pytest.raises(SourceError):
                read_page(page)
        if truth["kind"] in UNREADABLE | UNUSABLE:
            record = clean_page(page, f"{truth['id']}.html", config)
            reason = record.reason if isinstance(record, Rejected) else None
            found.setdefault(truth["kind"], set()).add(reason)
    assert found == {kind: {reason} for kind, reason in (UNREADABLE | UNUSABLE).items()}


def test_no_good_page_is_turned_away(known_pages: list[KnownPage]) -> None:
    config = FilterConfig.model_validate({"blocked_words": {"words": ()}})
    good = [case for case in known_pages if case.truth["kind"] not in UNREADABLE | UNUSABLE]
    assert len(good) > 2500
    lost = {
        (truth["id"], record.reason)
        for truth, page in good
        if not isinstance(record := clean_page(page, f"{truth['id']}.html", config), Conversation)
    }
    assert lost == set()


@pytest.mark.parametrize(
    ("found", "truth", "same"),
    [
        ("- a\n- *b*", "* a\n* _b_", True),
        ("a b", "a c", False),
        ("3. a", "a", True),
        ("```py\na\n```", "~~~", True),
        ("a `b|c`", "a b c", True),
    ],
)
def test_words_are_all_but_marks(found: str, truth: str, same: bool) -> None:
    assert (words(found) == words(truth)) is same


@pytest.mark.parametrize(
    "markdown",
    [
        "```py\na\n\n  b\n```",
        "- ```py\n  a\n\n    b\n  ```",
        "> ````py\n> a\n>\n>   b\n> ````",
        "1. x\n\n\t```Py\n\ta\n\n\t  b\n\t```",
    ],
)
def test_code_is_found_wherever_it_stands(markdown: str) -> None:
    assert [tuple(block) for block in code_blocks(markdown)] == [("py", "a\n\n  b")]
