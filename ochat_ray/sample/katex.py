r"""TeX as KaTeX puts it on a page: MathML that keeps the source, then visual HTML that repeats it.

Reads the little TeX that the shipped conversations use: letters, numbers, operators, `^`, `_`, `\frac`,
`\sqrt` and the commands in `_SYMBOLS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\\[A-Za-z]+|\d+(?:\.\d+)?|\S")
# Command to the character shown and its MathML element.
_SYMBOLS = {
    "\\pi": ("\u03c0", "mi"),
    "\\theta": ("\u03b8", "mi"),
    "\\sum": ("\u2211", "mo"),
    "\\pm": ("\u00b1", "mo"),
    "\\le": ("\u2264", "mo"),
    "\\sin": ("sin", "mi"),
    "\\cos": ("cos", "mi"),
}
_CLASSES = {"mi": "mord mathnormal", "mn": "mord", "mo": "mrel"}
_VLIST = '<span class="vlist-t vlist-t2"><span class="vlist-r"><span class="vlist" style="height:0.8141em;">'
_VLIST_END = '</span><span class="vlist-s">\u200b</span></span></span>'
_STRUT = '<span class="strut" style="height:0.8141em;vertical-align:-0.0833em;"></span>'


@dataclass(frozen=True)
class _Pair:
    """One piece of a formula in both renderings."""

    mathml: str
    html: str


def inline_math(tex: str) -> str:
    """A formula in a line of text."""
    return f'<span class="math math-inline">{_katex(tex, "")}</span>'


def display_math(tex: str) -> str:
    """A formula on lines of its own."""
    katex = _katex(tex, ' display="block"')
    return f'<div class="math math-display"><span class="katex-display">{katex}</span></div>'


def _katex(tex: str, display: str) -> str:
    row = _row(_TOKEN.findall(tex))
    source = tex.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        '<span class="katex"><span class="katex-mathml">'
        f'<math xmlns="http://www.w3.org/1998/Math/MathML"{display}><semantics><mrow>{row.mathml}</mrow>'
        f'<annotation encoding="application/x-tex">{source}</annotation></semantics></math></span>'
        '<span class="katex-html" aria-hidden="true">'
        f'<span class="base">{_STRUT}{row.html}</span></span></span>'
    )


def _row(tokens: list[str]) -> _Pair:
    """All of `tokens`, scripts bound to what stands before them."""
    pieces: list[_Pair] = []
    while tokens:
        if tokens[0] in "^_":
            mark = tokens.pop(0)
            pieces.append(_script(pieces.pop(), mark, _atom(tokens)))
        else:
            pieces.append(_atom(tokens))
    return _Pair("".join(p.mathml for p in pieces), "".join(p.html for p in pieces))


def _atom(tokens: list[str]) -> _Pair:
    """The next piece, taken off the front of `tokens`."""
    token = tokens.pop(0)
    if token == "{":
        row = _row(_group(tokens))
        return _Pair(f"<mrow>{row.mathml}</mrow>", f'<span class="mord">{row.html}</span>')
    if token == "\\frac":
        over, under = _atom(tokens), _atom(tokens)
        stack = f'{_raised(under.html)}<span class="frac-line"></span>{_raised(over.html)}'
        html = f'<span class="mord"><span class="mfrac">{_VLIST}{stack}{_VLIST_END}</span></span>'
        return _Pair(f"<mfrac>{over.mathml}{under.mathml}</mfrac>", html)
    if token == "\\sqrt":
        root = _atom(tokens)
        html = f'<span class="mord sqrt">{_VLIST}{_raised(root.html)}{_VLIST_END}</span>'
        return _Pair(f"<msqrt>{root.mathml}</msqrt>", html)
    text, tag = _SYMBOLS.get(token) or (
        token,
        "mi" if token.isalpha() else "mn" if token[0].isdigit() else "mo",
    )
    text = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(text, text)
    return _Pair(f"<{tag}>{text}</{tag}>", f'<span class="{_CLASSES[tag]}">{text}</span>')


def _group(tokens: list[str]) -> list[str]:
    """The tokens up to the brace that closes the one just read, which is taken off too."""
    depth = 1
    for i, token in enumerate(tokens):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth == 0:
            inside = tokens[:i]
            del tokens[: i + 1]
            return inside
    raise AssertionError("unbalanced braces in shipped TeX")


def _script(base: _Pair, mark: str, script: _Pair) -> _Pair:
    tag = "msup" if mark == "^" else "msub"
    raised = f'<span class="msupsub">{_VLIST}{_raised(script.html)}{_VLIST_END}</span>'
    html = f'<span class="mord">{base.html}{raised}</span>'
    return _Pair(f"<{tag}>{base.mathml}{script.mathml}</{tag}>", html)


def _raised(html: str) -> str:
    return (
        '<span style="top:-3.063em;margin-right:0.05em;"><span class="pstrut" style="height:2.7em;"></span>'
        f'<span class="sizing reset-size6 size3 mtight">{html}</span></span>'
    )
