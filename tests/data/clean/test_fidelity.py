"""Fidelity against three thousand made pages whose source Markdown is known, where they are at hand."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ochat_ray.config import DataConfig
from ochat_ray.conversation import Conversation
from ochat_ray.data.clean import clean_page

PAGES = 800

FENCED = re.compile(
    r"^(?P<indent>[ >]*(?:[-*+] +|\d+[.)] +)?)(?P<fence>`{3,})(?P<language>[^\n`]*)\n"
    r"(?P<code>.*?)(?:^[ >]*(?P=fence)`*[ ]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
# What Markdown writes in more ways than one: marks, the names of list markers, and white space.
MARKERS = re.compile(r"^[ >]*(?:[-*+]|\d+[.)])(?= |$)|^=+$", re.MULTILINE)
MARKS = re.compile(r"<br>|[\s*_#>|`$\\<()\[\]!:+=~-]+")
# A sentence that the maker of the pages put into some answers, to be found by the filter.
PLANTED = "As an AI model trained by OpenAI, I cannot browse."

# Reasons that the kinds of malformed pages must be turned away with; every other kind is a good page.
MALFORMED = {
    "bad_nullval": "bad_item",
    "bad_bad_json": "bad_json",
    "bad_trunc": "no_data",
    "bad_one": "too_short",
    "bad_empty": "too_short",
    "bad_roles": "roles",
    "bad_404": "no_content",
    "bad_binary": "no_data",
    "bad_no_next": "no_data",
}


class Case(NamedTuple):
    truth: dict[str, Any]
    found: Any


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> list[Case]:
    config = DataConfig(blocked_words=())
    pages: dict[str, bytes] = {}
    with tarfile.open(shared_data / "sharegpt" / "pages-3000.tar.xz", "r|xz") as archive:
        for member in archive:
            data = archive.extractfile(member)
            if data is None:
                continue
            if member.name.endswith(".html") and len(pages) < PAGES:
                pages[Path(member.name).stem] = data.read()
            elif member.name.endswith(".jsonl"):
                truths = [json.loads(line) for line in data]
    return [
        Case(t, clean_page(pages[t["id"]], f"{t['id']}.html", config)) for t in truths if t["id"] in pages
    ]


def turns(cases: list[Case], role: str) -> Iterator[tuple[str, str]]:
    """Each text of `human` or `gpt` as found and as it was."""
    for truth, found in cases:
        if isinstance(found, Conversation) and truth["truth"] is not None:
            asked = next(i for i, turn in enumerate(truth["truth"]) if turn[0] == "human")
            for message, (who, text) in zip(found.messages, truth["truth"][asked:], strict=False):
                if who == role:
                    yield message.content, text


def test_people_are_quoted_byte_for_byte(cases: list[Case]) -> None:
    texts = list(turns(cases, "human"))
    assert len(texts) > 2 * PAGES
    for found, truth in texts:
        assert found == truth


def test_code_is_exact(cases: list[Case]) -> None:
    same = languages = total = 0
    for found, truth in turns(cases, "gpt"):
        ours, theirs = code_blocks(found), code_blocks(truth)
        total += len(theirs)
        if len(ours) == len(theirs):
            same += sum(a[1] == b[1] for a, b in zip(ours, theirs, strict=True))
            # Where the author named none, the page shows what the highlighter guessed.
            languages += sum(b[0] in ("", a[0]) for a, b in zip(ours, theirs, strict=True))
    assert total > PAGES
    assert same / total > 0.998
    assert languages / total > 0.998


def test_text_is_exact_but_for_how_marks_are_written(cases: list[Case]) -> None:
    pairs = list(turns(cases, "gpt"))
    same = sum(words(found) == words(truth) for found, truth in pairs)
    assert len(pairs) > 2 * PAGES
    assert same / len(pairs) > 0.996


def test_malformed_pages_are_turned_away_for_what_they_are(cases: list[Case]) -> None:
    bad = {(t["kind"], getattr(found, "reason", None)) for t, found in cases if t["kind"] in MALFORMED}
    assert len(bad) >= 7
    assert bad <= set(MALFORMED.items())


def test_good_pages_are_understood(cases: list[Case]) -> None:
    good = [case for case in cases if case.truth["kind"] not in MALFORMED]
    turned_away = [found for _, found in good if not isinstance(found, Conversation)]
    assert len(good) > 0.9 * PAGES
    # Some people did send blank messages.
    assert {found.reason for found in turned_away} <= {"empty_turn"}
    assert len(turned_away) < 0.03 * len(good)


def code_blocks(markdown: str) -> list[tuple[str, str]]:
    """Language and code of each fence, dedented by what stands before the fence."""
    blocks = []
    for match in FENCED.finditer(markdown):
        indent = len(match["indent"])
        lines = [
            line[indent:] if not line[:indent].strip(" >") else line for line in match["code"].split("\n")
        ]
        blocks.append((match["language"].strip().lower(), "\n".join(lines).rstrip("\n")))
    return blocks


def words(markdown: str) -> str:
    """The text without code, marks and white space."""
    return MARKS.sub("", MARKERS.sub("", FENCED.sub("\n", markdown).replace(PLANTED, "")))
