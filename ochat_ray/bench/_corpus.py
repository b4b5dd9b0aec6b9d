"""What the benchmarks of the data stage run on: saved pages, many times over if need be, and a tokenizer."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

from ochat_ray import sample
from ochat_ray.config import load_recipe
from ochat_ray.conversation import Conversation
from ochat_ray.data.clean.conversation import clean_page
from ochat_ray.data.read.find import find_inputs
from ochat_ray.storage import read

FIRST = b'"items":[{"from":"human","value":"'


def options(parser: argparse.ArgumentParser) -> None:
    """The options by which a corpus is chosen."""
    parser.add_argument("--pages", type=Path, help="folder of saved pages (default: the sample)")
    parser.add_argument("--base", type=Path, help="folder with a tokenizer (default: a tiny one)")


def pages(folder: Path | None, aside: Path) -> list[tuple[str, bytes]]:
    """All pages of a folder, by name; without one, those of the sample, which are written to `aside`."""
    if folder is None:
        sample.write_pages(aside)
    found = find_inputs([str(folder or aside)])
    return [(file.path, read(found.folder, file.path)) for file in found.files if file.size]


def base(folder: Path | None, aside: Path) -> Path:
    """A folder with a tokenizer; the tiny base model's, made in `aside`, where none is named."""
    if folder is not None:
        return folder
    from ochat_ray.train.base import make_tiny

    make_tiny(aside, load_recipe("tiny-cpu"))
    return aside


def conversations(found: list[tuple[str, bytes]]) -> list[Conversation]:
    """What cleaning makes of pages, where it makes anything."""
    cleaned = (clean_page(page, name) for name, page in found)
    return [one for one in cleaned if isinstance(one, Conversation)]


def multiplied(found: list[tuple[str, bytes]], number: int) -> Iterator[tuple[str, bytes]]:
    """So many pages, by going through them again and again; no two ask the same question."""
    for index, (name, page) in enumerate(itertools.islice(itertools.cycle(found), number)):
        yield f"{index:07}-{name}", page.replace(FIRST, FIRST + b"(%d) " % index, 1)
