"""Pages broken and elements nested in any way: nothing raises, and no text is lost or said twice."""

from __future__ import annotations

import json
import re
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.data.clean.markdown import to_markdown
from tests.data.clean.fuzz_page import feed
from tests.data.clean.test_markdown import CASES, FOREIGN, code_block
from tests.data.pages import answer, page_with, saved_page

ANSWERS = [answer(source) for source, _ in (*CASES.values(), *FOREIGN.values())]
PAGE = saved_page([item for value in ANSWERS for item in (("human", "<b> & \U0001f600"), ("gpt", value))])
START = PAGE.index(b'{"props"')

# What a page is made of, and what is none of that.
PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [
            *(
                b'"',
                b"\\",
                b"\\ud83d",
                b"\\u0000",
                b"\xed\xa0\xbd",
                b"\xff",
                b"\x00",
                b"{",
                b"[" * 2000,
                b"null",
                b"-1e999",
            ),
            *(b"\\u003c", b"\\u003e", b"</script", b'<script id="__NEXT_DATA__">', b"&#xD800;", b"&amp;lt;"),
            *(
                f"\\u003c{tag}>".encode()
                for tag in ("pre", "/pre", "code", "table", "/div", "ul", "li", "/p", "button")
            ),
            *((f"\\u003c{tag}>" * 300).encode() for tag in ("b", "div", "ul", "x-y")),
        ]
    ),
)
EDITS = st.lists(st.tuples(st.integers(0, len(PAGE)), st.integers(0, 40), PIECES), min_size=1, max_size=8)


def edited(edits: list[tuple[int, int, bytes]], page: bytes = PAGE) -> bytes:
    for at, length, piece in edits:
        page = page[:at] + piece + page[at + length :]
    return page


def test_the_page_to_break_is_whole() -> None:
    assert feed(PAGE) == len(ANSWERS)


@settings(max_examples=200)
@given(edits=EDITS)
def test_edited_pages(edits: list[tuple[int, int, bytes]]) -> None:
    feed(edited(edits))


@settings(max_examples=50)
@given(start=st.integers(0, len(PAGE)), end=st.integers(0, len(PAGE)))
def test_cut_pages(start: int, end: int) -> None:
    feed(PAGE[:start])
    feed(PAGE[:start] + PAGE[end:])


@settings(max_examples=50)
@given(page=st.binary() | st.binary().map(lambda junk: PAGE[:START] + junk + b"</script>"))
def test_pages_of_anything(page: bytes) -> None:
    feed(page)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["human", "gpt"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["props", "pageProps", "content", "items", "from", "value", "id"]), inner
        )
    ),
    max_leaves=20,
)


@settings(max_examples=100)
@given(data=JSON)
def test_other_json(data: object) -> None:
    feed(page_with(json.dumps(data)))
    feed(page_with({"props": {"pageProps": {"content": {"items": data}}}}))


@settings(max_examples=300)
@given(edits=EDITS, value=st.sampled_from(ANSWERS))
def test_edited_answers(edits: list[tuple[int, int, bytes]], value: str) -> None:
    broken = edited([(at % (len(value) + 1), length, piece) for at, length, piece in edits], value.encode())
    to_markdown(broken.replace(b"\\u003c", b"<").decode(errors="replace")).encode()


# Elements of all kinds in each other, many of which no HTML allows, some never closed.
# fmt: off
TAGS = [
    "div", "p", "span", "b", "em", "ul", "ol", "li", "table", "tr", "td", "th", "thead", "tbody", "caption",
    "pre", "code", "blockquote", "h1", "section", "details", "x-y", "dl", "dt", "dd", "sup", "figure",
    "label", 'a href="u"', 'ol start="7"', 'span class="math"', 'td align="left"',
]
# fmt: on
TREES = st.recursive(
    st.sampled_from(["WORD ", "<br>", "\n", "&nbsp;", "<hr>", "</body></html>", code_block("WORD\n")]),
    lambda inner: st.builds(
        lambda tag, parts, closed: f"<{tag}>{''.join(parts)}" + f"</{tag.split()[0]}>" * closed,
        st.sampled_from(TAGS),
        st.lists(inner, max_size=4),
        st.sampled_from([1, 1, 1, 1, 0]),
    ),
    max_leaves=25,
)


@settings(max_examples=400)
@given(tree=TREES)
def test_every_word_comes_out_once_and_in_order(tree: str) -> None:
    numbers = count()
    value = re.sub("WORD", lambda _: f"w{next(numbers)}w", tree)
    assert re.findall(r"w\d+w", to_markdown(answer(value))) == [f"w{n}w" for n in range(next(numbers))]
