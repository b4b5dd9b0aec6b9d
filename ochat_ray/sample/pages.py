"""Every page of the sample, with what a clean run must make of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ochat_ray.conversation import Message, Role
from ochat_ray.sample import malformed
from ochat_ray.sample.content import Entry, funnel, good
from ochat_ray.sample.html import code_block, message_html
from ochat_ray.sample.skeleton import Item, Save, page


@dataclass(frozen=True)
class Noise:
    """Text around an answer's `div`, and a block at the end inside it."""

    before: str = ""
    at_end: str = ""
    after: str = ""


GPT_4 = "Model: GPT-4"
OTHERS = ("Model: Default (GPT-3.5)", None, "Model: GPT-3.5", "Model: Legacy (GPT-3.5)")
ALIASES = (("user", "chatgpt"), ("user", "bing"), ("user", "bard"))
NOISE = (
    Noise(before="2 / 2"),
    Noise(after="Copy1234 chars / 210 words"),
    Noise(at_end=code_block("", "python")),
    Noise(before="1 / 3", after="Copy88 chars / 16 words"),
)
"""What the share site's extension left around the answers, for each noisy conversation."""
_OPENING: Item = {"from": "gpt", "value": message_html("Welcome back!", "light")}
_CLOSING: Item = {"from": "human", "value": "thanks, bye"}
EXTRA_TURNS: tuple[tuple[list[Item], list[Item]], ...] = (
    ([_OPENING], []),
    ([], [_CLOSING]),
    ([_OPENING], [_CLOSING]),
)
"""Turns before and after each repaired conversation."""
DUPLICATE_EVERY = 6
"""Every so many conversations one was saved again, by somebody with another model's label or with none."""
TWIN_EVERY = 11
"""Every so many conversations one was saved again with the same label."""


@dataclass(frozen=True, slots=True)
class Page:
    """One saved page and the truth about it.

    `reason` is the code that it is turned away with, None where it is kept; `messages` are its turns in
    Markdown after cleaning, empty where nothing can be read; `kind` says what the page is there for.
    """

    id: str
    kind: str
    data: bytes
    reason: str | None
    model: str | None
    messages: tuple[Message, ...]


@cache
def pages() -> tuple[Page, ...]:
    """All pages in the order of their ids."""
    found = [*_kept(), *_copies(), *_other_models(), *_mended(), *_blocked(), *_malformed()]
    return tuple(sorted(found, key=lambda p: p.id))


def page_id(name: str) -> str:
    """Seven letters and digits that follow from a page's name, like a share id."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return "".join(alphabet[number // 62**i % 62] for i in range(7))


def messages(turns: Sequence[str]) -> tuple[Message, ...]:
    """Turns that alternate, the human's first."""
    roles: tuple[Role, Role] = ("user", "assistant")
    return tuple(Message(roles[i % 2], text) for i, text in enumerate(turns))


def save(
    name: str, turns: Sequence[str], model: str | None, roles: tuple[str, str] = ("human", "gpt")
) -> Save:
    """A well-formed save of these turns."""
    theme = "dark" if len(name) % 2 else "light"
    items: list[Item] = [
        {"from": roles[i % 2], "value": message_html(text, theme) if i % 2 else text}
        for i, text in enumerate(turns)
    ]
    title = turns[0].strip().split("\n")[0][:40]
    return Save(page_id(name), title, model, tuple(items))


def _page(kind: str, saved: Save, turns: Sequence[str], reason: str | None = None) -> Page:
    return Page(saved.id, kind, page(saved).encode(), reason, saved.model, messages(turns))


def _lessons() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name and turns of each conversation to keep; those with `follow` come twice."""
    for entry in good():
        yield entry.name, entry.turns
        if entry.follow:
            yield f"{entry.name} follow", entry.turns + entry.follow


def _twins() -> list[tuple[str, tuple[str, ...]]]:
    return list(_lessons())[::TWIN_EVERY]


def _twin_names(name: str) -> tuple[str, str]:
    """The two saves of a twin, the one with the smaller id first: it is the one to keep."""
    first, second = sorted((name, f"{name} twin"), key=page_id)
    return first, second


def _kept() -> Iterator[Page]:
    twins = {name for name, _ in _twins()}
    for name, turns in _lessons():
        kept = _twin_names(name)[0] if name in twins else name
        yield _page("plain", save(kept, turns, GPT_4), turns)


def _copies() -> Iterator[Page]:
    for name, turns in _twins():
        yield _page("twin", save(_twin_names(name)[1], turns, GPT_4), turns, "duplicate")
    for i, (name, turns) in enumerate(list(_lessons())[::DUPLICATE_EVERY]):
        yield _page("copy", save(f"{name} copy", turns, OTHERS[i % len(OTHERS)]), turns, "duplicate")
    noisy = funnel().noisy[0]
    yield _page("copy", save(f"{noisy.name} copy", noisy.turns, None), noisy.turns, "duplicate")


def _other_models() -> Iterator[Page]:
    entries = [entry for series in funnel().series for entry in series.entries()]
    for i, entry in enumerate(entries):
        yield _page(
            "other_model", save(entry.name, entry.turns, OTHERS[i % len(OTHERS)]), entry.turns, "model"
        )


def _mended() -> Iterator[Page]:
    """Pages with noise, other role names or a turn too many, all to be kept."""
    for entry, noise in zip(funnel().noisy, NOISE, strict=True):
        saved = save(entry.name, entry.turns, GPT_4)
        items = [i if i["from"] == "human" else _noisy(i, noise) for i in saved.items]
        yield _page("noisy", saved.with_items(items), entry.turns)
    for entry, roles in zip(funnel().aliases, ALIASES, strict=True):
        yield _page("alias", save(entry.name, entry.turns, GPT_4, roles), entry.turns)
    for entry, (before, after) in zip(funnel().repaired, EXTRA_TURNS, strict=True):
        saved = save(entry.name, entry.turns, GPT_4)
        yield _page("repaired", saved.with_items([*before, *saved.items, *after]), entry.turns)


def _noisy(item: Item, noise: Noise) -> Item:
    inside = item["value"].removesuffix("</div>")
    return {**item, "value": f"{noise.before}{inside}{noise.at_end}</div>{noise.after}"}


def _blocked() -> Iterator[Page]:
    for entry in funnel().blocked:
        yield _page("blocked", save(entry.name, entry.turns, GPT_4), entry.turns, "blocked_word")


def _malformed() -> Iterator[Page]:
    donors: tuple[Entry, ...] = good()
    for i, broken in enumerate(malformed.ALL):
        donor = donors[i % len(donors)]
        saved = save(f"malformed {broken.name}", donor.turns, GPT_4)
        yield Page(saved.id, broken.name, broken.spoil(saved), broken.reason, GPT_4, ())
