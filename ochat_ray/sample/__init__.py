"""A small folder of saved pages, made from conversations of our own, and the truth about each page.

For the demo, for trying out the cleaning, and for tests: the pages carry the markup, the noise and the
faults of real ones, and what a clean run must make of them is known exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ochat_ray.sample.content import good
from ochat_ray.sample.pages import Page, pages

__all__ = ["Page", "Question", "expected", "questions", "texts", "truth", "write_pages"]


@dataclass(frozen=True, slots=True)
class Question:
    """The first turn of a kept conversation, and the Markdown that the pages answer it with."""

    text: str
    answer: str


def write_pages(folder: Path) -> int:
    """Write every page as `folder/ID.html`; returns how many. The bytes are the same on every machine.

    Pages that are there already are left alone, with their times, by which `prepare` knows them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages():
        path = folder / f"{page.id}.html"
        if not path.exists() or path.read_bytes() != page.data:
            path.write_bytes(page.data)
    return len(pages())


def texts() -> Iterator[str]:
    """Every text of the conversations that are kept, users' and assistants', for training a tokenizer."""
    for page in pages():
        if page.reason is None:
            yield from (message.content for message in page.messages)


def questions() -> list[Question]:
    """What a model that has learned the pages should be able to answer, word for word."""
    return [Question(*entry.turns[:2]) for entry in good() if entry.ask]


def expected() -> dict[str, int]:
    """How many pages there are of each outcome: `kept`, then the reasons for turning pages away."""
    return dict(sorted(Counter(page.reason or "kept" for page in pages()).items()))


def truth() -> dict[str, Page]:
    """Every page by its id, with its outcome."""
    return {page.id: page for page in pages()}
