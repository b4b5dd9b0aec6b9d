"""The HTML of the sample's answers: well-formed, and nothing of code or TeX lost on the way."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray import sample
from ochat_ray.sample.highlight import highlight
from ochat_ray.sample.html import blocks, escape, inline, message_html
from ochat_ray.sample.katex import display_math, inline_math

VOID = {"br", "img"}
LANGUAGES = ["python", "java", "c", "html", "bash", "sql", "css", "text", ""]


class Reader(HTMLParser):
    """Text of the whole and of each element by name; fails on tags that do not match up."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""
        self.inside: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag not in VOID:
            self.open.append(tag)
            self.inside.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        for tag in set(self.open):
            self.inside[tag][-1] += data


def test_every_answer_is_well_formed() -> None:
    answers = {m.content for page in sample.truth().values() for m in page.messages if m.role == "assistant"}
    assert len(answers) > 100
    for answer in answers:
        Reader(message_html(answer, "light"))


@given(
    st.text(alphabet=st.characters(blacklist_characters="\r\0", codec="utf-8")), st.sampled_from(LANGUAGES)
)
def test_highlighting_only_adds_marks(code: str, language: str) -> None:
    assert Reader(f"<pre>{highlight(code, language)}</pre>").text == code


def test_highlighting_marks_what_a_reader_sees_in_colour() -> None:
    html = highlight('def f(): return "a # b"  # end 1\n', "python")
    assert '<span class="hljs-keyword">def</span>' in html
    assert '<span class="hljs-string">"a # b"</span>' in html
    assert '<span class="hljs-comment"># end 1</span>' in html


@given(st.text(alphabet="abc<>&|_ \n\"'`1$%", min_size=1).filter(lambda t: "```" not in t))
def test_code_blocks_hold_the_code_alone(code: str) -> None:
    reader = Reader(blocks(f"```python\n{code}\n```"))
    assert reader.inside["code"] == [code + "\n"]
    assert reader.text == f"pythonCopy code{code}\n"


@pytest.mark.parametrize("tex", [r"a^2 + b_1", r"\frac{x + 1}{\sqrt{2}}", r"\sum_{i=1}^{n} i < \pi"])
def test_formulas_keep_their_source_and_show_it_twice(tex: str) -> None:
    reader = Reader(inline_math(tex))
    assert reader.inside["annotation"] == [tex]
    mathml, _, visual = reader.text.partition(tex)
    assert mathml
    assert sorted(mathml) == sorted(visual.replace("\u200b", ""))
    assert 'display="block"' in display_math(tex)


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("a\nb", "<p>a<br>\nb</p>"),
        (
            "a *b* **c *d* e** `<f>`",
            "<p>a <em>b</em> <strong>c <em>d</em> e</strong> <code>&lt;f&gt;</code></p>",
        ),
        ("2 * 3 * 4, $5 and $6, my_own_name", "<p>2 * 3 * 4, $5 and $6, my_own_name</p>"),
        ("- a\n  - b\n- c", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"),
        ("1. a\n\n   b\n2. c", "<ol><li><p>a</p><p>b</p></li><li><p>c</p></li></ol>"),
        ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("> a\n>\n> b", "<blockquote><p>a</p><p>b</p></blockquote>"),
        (
            "| a | b |\n| --- | --- |\n| `x\\|y` | z |",
            "<table><thead><tr><th>a</th><th>b</th></tr></thead>"
            "<tbody><tr><td><code>x|y</code></td><td>z</td></tr></tbody></table>",
        ),
        ("[t](u?a=1&b=2)", '<p><a href="u?a=1&amp;b=2" target="_new">t</a></p>'),
        ("## t\n\np", "<h2>t</h2><p>p</p>"),
    ],
)
def test_blocks(markdown: str, html: str) -> None:
    assert blocks(markdown) == html


@given(st.text(alphabet="ab<>&\"' _"))
def test_plain_text_is_only_escaped(text: str) -> None:
    assert inline(text) == escape(text)
