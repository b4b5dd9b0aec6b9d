"""Conversations, tokens and counts as lines of text, in colours where there is a terminal for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ochat_ray.conversation import Message
from ochat_ray.tokenizer import ChatTokenizer

RESET, BOLD, DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
SPECIAL = "\x1b[35m"
# Backgrounds of the 256-colour palette, for weights from just above 0 to 1 and more.
SHADES = (236, 22, 28, 34)
ROLES = {"system": "\x1b[33m", "user": "\x1b[36m", "assistant": "\x1b[32m"}


@dataclass(frozen=True)
class Style:
    """How conversations are shown, and whether in colours."""

    view: Literal["turns", "markdown", "tokens"] = "turns"
    colour: bool = False


def turns(title: str, messages: Sequence[Message], style: Style) -> Iterator[str]:
    """A conversation, turn by turn; as one Markdown document if the style says so."""
    if style.view == "markdown":
        yield f"\n# {title}"
        for message in messages:
            yield f"\n## {message.role}\n\n{message.content}"
        return
    yield "\n" + _painted(title, BOLD, style)
    for message in messages:
        weight = (
            "" if message.weight == 1.0 or message.role != "assistant" else f", weight {message.weight:g}"
        )
        yield _painted(f"[{message.role}{weight}]", ROLES[message.role], style)
        yield message.content


def tokens(title: str, ids: Sequence[int], weights: Sequence[float], by: ChatTokenizer, style: Style) -> str:
    """Tokens one after the other, shaded by their loss weights.

    Without colours they are divided by `|`, and those with loss stand in brackets: [with weight 1], and
    [another weight:0.1].
    """
    names = {number: token for token, number in by.special_ids.items()}
    anchor = next((number for number in ids if number not in names), 0)
    before = len(by.decode([anchor]))
    parts = []
    for number, weight in zip(ids, weights, strict=True):
        special = names.get(number)
        # Behind another token: alone, a token of sentencepiece loses the space that it begins with.
        text = special if special is not None else by.decode([anchor, number])[before:]
        parts.append(_shaded(text, weight, special is not None) if style.colour else _bracketed(text, weight))
    return f"\n{_painted(title, BOLD, style)}\n" + ("" if style.colour else "|").join(parts)


def funnel(counts: dict[str, Any]) -> str:
    """The counts of a prepared folder as a table: what came in, what went where and why."""
    rows: list[tuple[str, str]] = [("documents", f"{counts['documents']:,}")]
    rows += [(f"  rejected: {reason}", f"-{n:,}") for reason, n in sorted(counts["rejected"].items())]
    rows.append(("conversations kept", f"{counts['kept']:,}"))
    for name, facts in counts["tokens"].items():
        rows.append((f"for {name}", ""))
        for split in ("train", "eval"):
            mine = facts[split]
            rows.append((f"  {split} conversations", f"{mine['conversations']:,}"))
            if mine["rows"] != mine["conversations"]:
                rows.append((f"  {split} rows", f"{mine['rows']:,}"))
            rows.append((f"  {split} tokens", f"{mine['tokens']:,}"))
            rows.append((f"  {split} tokens with loss", f"{mine['target_tokens']:,}"))
        rows.append(("  tokens beyond the context", f"{facts['lost']['tokens']:,}"))
        rows.append(("  of those, with loss", f"{facts['lost']['target_tokens']:,}"))
    return "\n".join(f"{name:28} {value:>12}".rstrip() for name, value in rows)


def _painted(text: str, colour: str, style: Style) -> str:
    return f"{colour}{text}{RESET}" if style.colour else text


def _bracketed(text: str, weight: float) -> str:
    if not weight:
        return text
    return f"[{text}]" if weight == 1 else f"[{text}:{weight:g}]"


def _shaded(text: str, weight: float, special: bool) -> str:
    shade = SHADES[min(len(SHADES) - 1, int(weight * (len(SHADES) - 1) + 0.999))] if weight else None
    colour = (SPECIAL if special else "") + (f"\x1b[48;5;{shade}m" if shade else DIM)
    # A background does not go over the end of a line by itself.
    return "\n".join(f"{colour}{line}{RESET}" for line in text.split("\n"))
