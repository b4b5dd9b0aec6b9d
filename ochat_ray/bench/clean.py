"""Cleaning on one core: ours, and the plain way of bs4 and markdownify for every message, side by side."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import markdownify
from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning

from ochat_ray import sample
from ochat_ray.bench import record
from ochat_ray.data.clean import clean_page
from ochat_ray.data.page import PageError, read_page
from ochat_ray.data.sources import find_pages, pages_folder

Clean = Callable[[bytes, str], object]


def main(argv: Sequence[str]) -> None:
    """Run the benchmark over a folder of saved pages, or the shipped sample."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench clean", description=__doc__)
    parser.add_argument("--pages", type=Path, help="folder of saved pages (default: the shipped sample)")
    parser.add_argument(
        "--limit", type=int, default=1000, help="pages to take, in order of path (default 1000)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many rounds counts (default 3)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if args.pages is None:
            sample.write_pages(Path(folder))
        pages = read_pages(args.pages or Path(folder), args.limit)
    warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)  # some people send nothing but a link
    seconds = {name: best_of(clean, pages, args.rounds) for name, clean in CLEANERS.items()}
    name = "the shipped sample" if args.pages is None else args.pages.name
    record(f"Cleaning saved pages: {len(pages):,} of {name}, one core", table(pages, seconds))


def read_pages(folder: Path, limit: int) -> dict[str, bytes]:
    """The first `limit` pages of a folder by their paths."""
    root = pages_folder(folder)
    return {page.path: (root / page.path).read_bytes() for page in find_pages(root, root / ".none")[:limit]}


def best_of(clean: Clean, pages: dict[str, bytes], rounds: int) -> float:
    """Fewest CPU seconds of `rounds` passes over all pages."""
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        for source, page in pages.items():
            clean(page, source)
        taken.append(time.process_time() - began)
    return min(taken)


def plain_clean(page: bytes, _: str) -> list[str] | None:
    """The page parsed by bs4, a person's text by bs4 again, and each answer by markdownify."""
    script = BeautifulSoup(page.decode(errors="replace"), "html.parser").find("script", id="__NEXT_DATA__")
    try:
        items = json.loads(script.string)["props"]["pageProps"]["content"]["items"]  # type: ignore[union-attr, arg-type]
        return [plain_text(item["from"], item["value"]) for item in items]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def plain_text(who: str, value: str) -> str:
    """One message in the plain way."""
    if who in ("human", "user"):
        return BeautifulSoup(value, "html.parser").get_text()
    text: str = markdownify.markdownify(value, heading_style="ATX")
    return text


CLEANERS: dict[str, Clean] = {
    "bs4 for pages and people, markdownify for answers": plain_clean,
    "ours (clean_page)": clean_page,
}


def table(pages: dict[str, bytes], seconds: dict[str, float]) -> str:
    """A Markdown table of rates, the first row being the baseline."""
    megabytes = sum(map(len, pages.values())) / 1e6
    turns = sum(count_turns(page) for page in pages.values())
    slowest = next(iter(seconds.values()))
    lines = [
        "| cleaner | pages/s | messages/s | MB/s | times as fast |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, taken in seconds.items():
        rates = f"{len(pages) / taken:,.0f} | {turns / taken:,.0f} | {megabytes / taken:,.1f}"
        lines.append(f"| {name} | {rates} | {slowest / taken:.1f} |")
    return "\n".join(lines)


def count_turns(page: bytes) -> int:
    """Messages in a page; none in one that cannot be read."""
    try:
        return len(read_page(page).turns)
    except PageError:
        return 0
