"""Markdown, rendered by an independent CommonMark parser into ChatGPT's markup, and back: nothing may change.

The strategies write Markdown in the one form that the converter chooses among equal ones: `-` for bullets,
`*` for emphasis, the shortest fences, and no more blank lines in lists than their meaning needs.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

from ochat_ray.data.clean.markdown import to_markdown
from tests.data.pages import answer

KATEX = (
    '<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>x</mi></mrow>'
    '<annotation encoding="application/x-tex">{}</annotation></semantics></math></span>'
    '<span class="katex-html" aria-hidden="true"><span class="base"><span class="vlist">x\u200b</span></span>'
    "</span></span>"
)
INLINE_TEX = f'<span class="math math-inline">{KATEX}</span>'
DISPLAY_TEX = f'<div class="math math-display"><span class="katex-display">{KATEX}</span></div>\n'
BAR = (
    '<div class="flex items-center relative"><span class="">{}</span><button class="flex gap-2">'
    '<svg class="h-4 w-4"><path d="M16"></path></svg>Copy code</button></div>'
)


# ChatGPT's side: its code blocks and formulas. What we never write (escapes, entities, HTML) means nothing.


def fence(_: Any, tokens: Sequence[Any], at: int, *__: Any) -> str:
    code, language = tokens[at].content, tokens[at].info
    in_class = f" language-{language}" if language and len(code) % 3 else ""  # else only the bar names it
    coloured = re.sub(
        r"\w+|[<>&\"]", lambda m: f'<span class="hljs-x">{html.escape(m[0], quote=False)}</span>', code
    )
    code = f'<code class="!whitespace-pre hljs{in_class}">{coloured}</code>'
    if len(coloured) % 3 == 1 and (in_class or not language):
        return f"<pre>{code}</pre>\n"
    bar = BAR.format(language)
    return f'<pre><div class="bg-black rounded-md mb-4">{bar}<div class="p-4">{code}</div></div></pre>\n'


def inline_tex(state: StateInline, silent: bool) -> bool:
    match = re.compile(r"\$\$ (.+?) \$\$|\$([^$]+)\$").match(state.src, state.pos)
    if match is None:
        return False
    state.pos = match.end()
    if not silent:
        state.push("inline_tex", "", 0).content = match[1] or match[2]
    return True


def display_tex(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    def text(number: int) -> str:
        return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]

    if text(line) != "$$":
        return False
    last = next((number for number in range(line + 1, end) if text(number) == "$$"), None)
    if last is None:
        return False
    if not silent:
        token = state.push("display_tex", "", 0)
        token.content = state.getLines(line + 1, last, state.sCount[line], False)
        state.line = last + 1
    return True


def chatgpt() -> MarkdownIt:
    renderer = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    renderer.disable(["html_block", "html_inline", "entity", "escape", "autolink"])
    renderer.inline.ruler.before("backticks", "inline_tex", inline_tex)
    renderer.block.ruler.before("fence", "display_tex", display_tex)
    renderer.add_render_rule("fence", fence)
    for name, shape in (("inline_tex", INLINE_TEX), ("display_tex", DISPLAY_TEX)):
        renderer.add_render_rule(
            name,
            lambda _, tokens, at, *__, shape=shape: shape.format(
                html.escape(tokens[at].content, quote=False)
            ),
        )
    return renderer


CHATGPT = chatgpt()


# Lines. They begin and end with a plain word, between which the odd ones are nothing but text.

PLAIN = st.sampled_from(
    ["a", "word", "b9", "no\u00a0break", "\u4f60\u597d", "\u0645\u0631\u062d\u0628\u0627", "e\u0301"]
)
# fmt: off
ODD = st.sampled_from([
    "snake_case", "__x", "a<b", "List<String>", "</s>", "<br>", "&amp;", "&lt;", "&nbsp;", "2*3", "x^2",
    "*", "-", "+", "#", ">", "|", "~", "1.", "[1]", "(see)", "C:\\dir", "\\*", "it's", '"q"', "16/9", "://",
    "50%", "zero\u200bwidth", "\U0001f468\u200d\U0001f469", "\u3000wide",
])
# fmt: on


def line_of(*pieces: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    middle = st.lists(st.one_of(PLAIN, ODD, *pieces), max_size=4)
    return st.builds(lambda first, rest, last: " ".join([first, *rest, last]), PLAIN, middle, PLAIN)


def code_span(code: str) -> str:
    marks = ("`" * length for length in range(1, 99))
    mark = next(mark for mark in marks if not re.search(f"(?<!`){mark}(?!`)", code))
    apart = "`" in (code[0], code[-1]) or code[0] == code[-1] == " "
    return f"{mark} {code} {mark}" if apart else f"{mark}{code}{mark}"


SPANS = st.text("ab1_*`<>&$|[]()\\\"'-#~. ", min_size=1).filter(str.strip).map(code_span)
TEX = st.text("abx_^{}\\+-=<>&,12|' ", min_size=1).map(str.strip).filter(bool)
FORMULAS = TEX.map("${}$".format) | TEX.map(r"$$ \text{{ $x$ }} {} $$".format)
STRESSED = st.one_of(
    *(line_of(SPANS, FORMULAS).map(f"{mark}{{}}{mark}".format) for mark in ("*", "**", "***", "~~")),
    st.sampled_from(["in*si*de", "in**si**de"]),
)
ADDRESSES = st.sampled_from(
    ["https://a.b/c_d?e=1&f=%20", "https://a.b/x_(y)", "#z", "<u(v>", 'https://a.b "T t"']
)
LINKS = st.builds("[{}]({})".format, line_of(SPANS), ADDRESSES)
IMAGES = st.builds("![{}]({})".format, PLAIN, ADDRESSES)
LINES = line_of(SPANS, FORMULAS, STRESSED, LINKS, IMAGES)


# Blocks: a kind, and the text without the blank line after it.


class Piece(NamedTuple):
    kind: str
    text: str


LISTS = ("-", "1.")  # that can follow a paragraph at once; `n.` cannot


def piece(kind: str, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Piece]:
    return st.builds(Piece, st.just(kind), texts)


def fenced(language: str, code: str) -> str:
    runs = [len(run) + 1 for run in re.findall(r"^[ \t]*(`{3,})", code, re.MULTILINE)]
    mark = "`" * max([3, *runs])
    return f"{mark}{language}\n{code}{'' if code.endswith(chr(10)) else chr(10)}{mark}"


LISTINGS = st.text("ab1_*`<>&;$|[]()\\\"'-#~. \n\u4f60\U0001f600", min_size=1) | st.text(
    st.characters(exclude_categories=("Cs", "Cc")), min_size=1
)
LANGUAGES = st.sampled_from(["", "python", "c++", "c#", "objectivec", "lua", "R", "f#", "asp.net"])
CODE = piece("code", st.builds(fenced, LANGUAGES, LISTINGS.filter(str.strip)))
PARAGRAPHS = piece("paragraph", st.lists(LINES, min_size=1, max_size=3).map("\n".join))
HEADINGS = st.builds("{} {}".format, st.sampled_from(["#" * level for level in range(1, 7)]), LINES)
DISPLAYS = st.lists(TEX, min_size=1, max_size=3).map("\n".join).map("$$\n{}\n$$".format)


@st.composite
def tables(draw: st.DrawFn) -> str:
    width = draw(st.integers(1, 3))
    cells = st.just("") | LINES.map(lambda line: line.replace("|", "\\|"))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=3))
    rules = st.sampled_from(["---", ":--", ":-:", "--:"])
    rows.insert(1, draw(st.lists(rules, min_size=width, max_size=width)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def item(marker: str, text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([marker + first, *(" " * len(marker) + line if line else "" for line in rest)])


@st.composite
def tight_lists(draw: st.DrawFn, depth: int) -> Piece:
    """Items of a paragraph and then code or a list, with no blank line anywhere."""
    numbered = draw(st.booleans())
    more = st.lists(CODE | tight_lists(depth - 1) if depth else CODE, max_size=1)
    items = [
        item(
            f"{number}. " if numbered else "- ",
            "\n".join(text for _, text in [draw(PARAGRAPHS), *draw(more)]),
        )
        for number in range(1, draw(st.integers(2, 4)))
    ]
    return Piece("1." if numbered else "-", "\n".join(items))


@st.composite
def loose_lists(draw: st.DrawFn, depth: int) -> Piece:
    """Items of any blocks, apart. A single one is loose by the blank lines between its blocks."""
    start, count = draw(st.none() | st.integers(0, 1000)), draw(st.integers(1, 3))
    items = []
    for number in range(count):
        pieces = [draw(PARAGRAPHS), *draw(pieces_of(depth - 1, min_size=1 if count == 1 else 0))]
        text = pieces[0].text
        for before, after in pairwise(pieces):
            at_once = (before.kind in ("paragraph", "code") and after.kind in LISTS) or (
                before.kind in LISTS and after.kind == "code"
            )
            text += ("\n" if at_once and count > 1 else "\n\n") + after.text
        items.append(item("- " if start is None else f"{start + number}. ", text))
    return Piece("-" if start is None else "1." if start == 1 else "n.", "\n\n".join(items))


@st.composite
def quotes(draw: st.DrawFn, depth: int) -> str:
    text = "\n\n".join(text for _, text in draw(pieces_of(depth - 1, min_size=1)))
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def pieces_of(depth: int, *, min_size: int = 0) -> st.SearchStrategy[list[Piece]]:
    """Blocks one after another, of which no two would become one."""
    texts = st.one_of(HEADINGS, DISPLAYS, tables(), st.just("---"))
    pieces = PARAGRAPHS | CODE | piece("other", texts)
    if depth > 0:
        pieces |= tight_lists(depth) | loose_lists(depth) | piece("quote", quotes(depth))
    return st.lists(pieces, min_size=min_size, max_size=3).filter(
        lambda found: not any(merge(a.kind, b.kind) for a, b in pairwise(found))
    )


def merge(before: str, after: str) -> bool:
    return before == after in ("-", "quote") or {before, after} <= {"1.", "n."}


DOCUMENTS = pieces_of(2, min_size=1).map(lambda pieces: "\n\n".join(text for _, text in pieces))


# markdown-it sets a line feed between blocks, as later renderers of ChatGPT do; the first ones set nothing.
BETWEEN = re.compile(
    r"(?<=>)\n(?=</?(?:blockquote|div|h[1-6r]|li|[ou]l|p|pre|t(?:able|head|body|r|h|d))\b|$)"
)


@given(markdown=DOCUMENTS)
def test_markdown_comes_home(markdown: str) -> None:
    rendered = CHATGPT.render(markdown)
    assert to_markdown(answer(rendered)) == markdown
    assert to_markdown(answer(BETWEEN.sub("", rendered))) == markdown
