"""Cleaning saved pages on one core: others' ways, the least that any way must do, and ours, side by side."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import markdownify
from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning
from lxml import etree

from ochat_ray import sample
from ochat_ray.bench import record
from ochat_ray.data.clean.conversation import clean_page
from ochat_ray.data.clean.fidelity import Fidelity, Turn
from ochat_ray.data.clean.markdown import PARSER, to_markdown
from ochat_ray.data.read.errors import SourceError
from ochat_ray.data.read.page import read_page

# A way from a page to its turns; none where it makes no turns, or turns the page away.
Way = Callable[[bytes], Sequence[Turn]]
Truths = Mapping[str, Sequence[Turn]]  # by the names of pages

ROLES = {"human": "user", "gpt": "assistant"}
FASTCHAT = "fastchat.data.clean_sharegpt"
INSTALL_FASTCHAT = "pip install --no-deps fschat==0.2.36"

WRAPPERS = re.compile(r"</?(?:div|span)[^>]*>")
BAR_IN_FENCE = re.compile(r"```\s*([^\n`]*?)Copy code(.+?)\s*```", re.DOTALL)
EMPTY_FENCE = re.compile(r"```[^`]*Copy code\s*```")
REGENERATED = re.compile(r"\A\d+ / \d+")
FOOTER = re.compile(r"Copy\d+ chars / \d+ words")


@dataclass(frozen=True)
class Result:
    """CPU seconds for all pages, and how faithful the turns were where the truth is known."""

    seconds: float
    fidelity: Fidelity


def main(argv: Sequence[str]) -> None:
    """Run the benchmark over a folder of saved pages, or the shipped sample."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench clean", description=__doc__)
    parser.add_argument("--pages", type=Path, help="folder of saved pages (default: the shipped sample)")
    parser.add_argument(
        "--truth", type=Path, help="JSON Lines of {id, kind, truth: [[human or gpt, Markdown], ...]}"
    )
    parser.add_argument("--limit", type=int, default=1000, help="pages to take, by path (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many rounds counts (default 3)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if args.pages is None:
            sample.write_pages(Path(folder))
        pages = read_pages(args.pages or Path(folder), args.limit)
    truths = read_truths(args.truth) if args.truth else {} if args.pages else sample_truths()
    warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)  # some people send nothing but a link
    results = {name: way and measure(way, pages, truths, args.rounds) for name, way in ways().items()}
    name = args.pages.name if args.pages else "the shipped sample"
    record(f"Cleaning saved pages: {len(pages):,} of {name}, one core", table(pages, results))


def read_pages(folder: Path, limit: int) -> dict[str, bytes]:
    """The first `limit` pages of a folder by their paths, by name."""
    return {path.stem: path.read_bytes() for path in sorted(folder.rglob("*.html"))[:limit]}


def read_truths(file: Path) -> dict[str, list[Turn]]:
    """What the good pages were made from."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {
        row["id"]: [Turn(ROLES[who], text) for who, text in row["truth"]]
        for row in rows
        if row["truth"] and not row["kind"].startswith("bad")
    }


def sample_truths() -> dict[str, list[Turn]]:
    """What the sample's pages were made from."""
    return {
        name: [Turn(message.role, message.content) for message in page.messages]
        for name, page in sample.truth().items()
        if page.messages
    }


def measure(way: Way, pages: Mapping[str, bytes], truths: Truths, rounds: int) -> Result:
    """The fewest CPU seconds of `rounds` passes over all pages, and the fidelity of the last one."""
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        found = {name: way(page) for name, page in pages.items()}
        taken.append(time.process_time() - began)
    fidelity = Fidelity()
    if any(found.values()):
        for name in found.keys() & truths.keys():
            fidelity.add(found[name], truths[name])
    return Result(min(taken), fidelity)


def ways() -> dict[str, Way | None]:
    """All ways by name, the baseline first; None for one that is not installed."""
    return {
        "the original's way": original,
        "FastChat, from JSON": fastchat(),
        "read and parse alone": floor,
        "ours, pages to Markdown": ours,
        "ours, with filters and languages": filtered,
    }


def original(page: bytes) -> list[Turn]:
    """As OpenChat did: the page as a soup, and every text through regular expressions and markdownify."""
    script = BeautifulSoup(page.decode(errors="replace"), "html.parser").find("script", id="__NEXT_DATA__")
    try:
        items = json.loads(script.string)["props"]["pageProps"]["content"]["items"]  # type: ignore[union-attr, arg-type]
        return [Turn(ROLES[item["from"]], by_expressions(item["value"])) for item in items]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def by_expressions(html: str) -> str:
    """HTML without its wrappers to Markdown, code blocks put right and noise taken out afterwards."""
    text: str = markdownify.markdownify(WRAPPERS.sub("", html)).strip()
    text = BAR_IN_FENCE.sub(r"```\1\n\2\n```", text)
    for noise in (REGENERATED, FOOTER, EMPTY_FENCE):
        text = noise.sub("", text)
    return text.replace("\n\n\n", "\n").strip()


def fastchat() -> Way | None:
    """FastChat's cleaner. It starts from JSON, and stops at the first text with a blocked word."""
    try:
        clean_one = importlib.import_module(FASTCHAT).clean_html_one_sample
    except ImportError:
        return None

    def clean(page: bytes) -> list[Turn]:
        names = {role: name for name, role in ROLES.items()}
        try:
            turns = [{"from": names[turn.role], "value": turn.value} for turn in read_page(page).turns]
        except (SourceError, KeyError):
            return []
        found, error = clean_one({"conversations": turns})
        return [] if error else [Turn(ROLES[turn["from"]], turn["value"]) for turn in found["conversations"]]

    return clean


def floor(page: bytes) -> list[Turn]:
    """What no way with a parser can do without: finding the data, its JSON, one parse of each answer."""
    try:
        turns = read_page(page).turns
    except SourceError:
        return []
    for turn in turns:
        if turn.html and turn.value:
            etree.fromstring(turn.value.encode("utf-8", "replace"), PARSER)
    return []


def ours(page: bytes) -> list[Turn]:
    """The same work as the original's: reading, and Markdown of answers."""
    try:
        turns = read_page(page).turns
    except SourceError:
        return []
    return [Turn(turn.role, to_markdown(turn.value) if turn.html else turn.value) for turn in turns]


def filtered(page: bytes) -> list[Turn]:
    """All of `clean_page` as recipes have it; what it turned away still has its turns."""
    return [Turn(message.role, message.content) for message in clean_page(page, "page.html").messages]


def table(pages: Mapping[str, bytes], results: Mapping[str, Result | None]) -> str:
    """A Markdown table of rates, the first row being the baseline, and of fidelity."""
    megabytes = sum(map(len, pages.values())) / 1e6
    messages = sum(map(count_turns, pages.values()))
    slowest = next(result.seconds for result in results.values() if result)
    names = [
        "pages/s",
        "messages/s",
        "MB/s",
        "times as fast",
        "understood",
        "code",
        "languages",
        "text",
        "people",
    ]
    lines = [f"| way | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for name, result in results.items():
        if result is None:
            lines.append(f"| {name} | not installed: `{INSTALL_FASTCHAT}` |{' |' * (len(names) - 1)}")
            continue
        rates = [f"{amount / result.seconds:,.0f}" for amount in (len(pages), messages, megabytes)]
        cells = [*rates, f"{slowest / result.seconds:.1f}", *map(str, result.fidelity.shares())]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def count_turns(page: bytes) -> int:
    """Messages in a page; none in one that cannot be read."""
    try:
        return len(read_page(page).turns)
    except SourceError:
        return 0
