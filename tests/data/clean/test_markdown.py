"""An assistant's HTML to Markdown: each construct, the noise, and what no content may break."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.data.clean.markdown import to_markdown
from tests.data.pages import answer

BAR = (
    '<div class="flex items-center"><span>{label}</span><button class="flex"><svg><path d="M1"></path></svg>'
    "Copy code</button></div>"
)
KATEX = (
    '<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>x</mi></mrow>'
    '<annotation encoding="application/x-tex">{tex}</annotation></semantics></math></span>'
    '<span class="katex-html" aria-hidden="true"><span class="base">x2</span></span></span>'
)
INLINE_TEX = '<span class="math math-inline">' + KATEX + "</span>"
DISPLAY_TEX = '<div class="math math-display"><span class="katex-display">' + KATEX + "</span></div>"


def code_block(code: str, label: str = "python") -> str:
    return (
        f'<pre><div class="bg-black">{BAR.format(label=label)}<div class="p-4">'
        f'<code class="!whitespace-pre hljs">{html.escape(code, quote=False)}</code></div></div></pre>'
    )


CASES = {
    "heading": ("<h3>A <em>b</em></h3><p>c</p>", "### A *b*\n\nc"),
    "emphasis touches the words": ("<p>a<strong> b </strong>c</p>", "a **b** c"),
    "line breaks": ("<p>a<br>b<br>\nc\nd</p>", "a\nb\nc\nd"),
    "nothing is escaped": ("<p>snake_case * 2 [x] &lt;b&gt; &amp;amp;</p>", "snake_case * 2 [x] <b> &amp;"),
    "list": ("<ul><li>a</li><li><p>b</p></li></ul>", "- a\n- b"),
    "numbers go on": ('<ol start="9"><li>a</li><li>b<ul><li>c</li></ul></li></ol>', "9. a\n10. b\n    - c"),
    "blocks in an item": ("<ol><li><p>a</p><p>b</p></li><li>c</li></ol>", "1. a\n\n   b\n2. c"),
    "list after a paragraph in an item": ("<ul><li><p>a</p><ul><li>b</li></ul></li></ul>", "- a\n  - b"),
    "empty item": ("<ul><li></li><li>b</li></ul>", "-\n- b"),
    "tasks": (
        '<ul><li><input type="checkbox" checked disabled> a</li><li><input type="checkbox"> b</li></ul>',
        "- [x] a\n- [ ] b",
    ),
    "table": (
        "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td><code>x|y</code></td></tr></tbody></table>",
        "| a | b |\n| --- | --- |\n| `x\\|y` |  |",
    ),
    "quote": ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b"),
    "rule": ("<p>a</p><hr><p>b</p>", "a\n\n---\n\nb"),
    "link": (
        '<p><a href="https://a.b/?c=1&amp;d_e=2" target="_new">t</a></p>',
        "[t](https://a.b/?c=1&d_e=2)",
    ),
    "link that shows itself": ('<p><a href="https://a.b">https://a.b</a></p>', "<https://a.b>"),
    "image": ('<p><img src="https://a.b/c_d.png" alt="e f"></p>', "![e f](https://a.b/c_d.png)"),
    "code span with backtick": (
        "<p><code>a`b</code> <code>```</code> <code>`c`</code></p>",
        "``a`b`` ` ``` ` `` `c` ``",
    ),
    "code with a label": (code_block("a\n"), "```python\na\n```"),
    "code with a class": ('<pre><code class="hljs language-c++">a</code></pre>', "```c++\na\n```"),
    "code without code element": ("<pre>a <b>b</b>\n</pre>", "```\na b\n```"),
    "colours and tags in code": (
        '<pre><code><span class="hljs-tag">&lt;<span>p</span>&gt;</span>Copy code</code></pre>',
        "```\n<p>Copy code\n```",
    ),
    "fence in code": (code_block("```\na\n````\n", "md"), "`````md\n```\na\n````\n`````"),
    "code in an item": (
        "<ul><li><p>a</p>" + code_block("b\n\n  c\n") + "</li></ul>",
        "- a\n\n  ```python\n  b\n\n    c\n  ```",
    ),
    "inline maths": (f"<p>a {INLINE_TEX.format(tex='x^2 &lt; y_1')}.</p>", "a $x^2 < y_1$."),
    "display maths": (f"<p>a</p>{DISPLAY_TEX.format(tex='x^2')}<p>b</p>", "a\n\n$$\nx^2\n$$\n\nb"),
    "display maths in a paragraph": (
        f'<p>a <span class="katex-display">{KATEX.format(tex="x^2")}</span> b</p>',
        "a\n\n$$\nx^2\n$$\n\nb",
    ),
    "buttons and drawings are silent": ("<p>a<button>Copy code</button><svg><title>t</title></svg></p>", "a"),
}


@pytest.mark.parametrize(("source", "expected"), CASES.values(), ids=CASES.keys())
def test_constructs(source: str, expected: str) -> None:
    assert to_markdown(answer(source)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2 / 2" + answer("<p>a</p>"), "a"),
        ("13 / 2\n" + answer("<p>a</p>"), "a"),
        (answer("<p>a</p>") + "Copy1234 chars / 210 words", "a"),
        (answer("<p>a</p><p>b Copy1234 chars / 210 words</p>"), "a\n\nb"),
        (answer(code_block("") + "<p>a</p>"), "a"),
        (answer("<p>a</p><pre><div><button>Copy code</button></div></pre>"), "a"),
        (answer("<p>a</p>") + "Copy code", "a"),
        ("2 / 2" + answer("<dl><dt>a</dt></dl>"), "a"),
    ],
)
def test_noise_is_removed(value: str, expected: str) -> None:
    assert to_markdown(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (answer("<p>16 / 9</p>"), "16 / 9"),
        (answer("<p>16 / 9 is wide.</p>"), "16 / 9 is wide."),
        ("16 / 9", "16 / 9"),
        (answer("<p>Copy code</p><p>a</p>"), "Copy code\n\na"),
        (
            answer("<p>a</p><pre><code>Copy12 chars / 3 words</code></pre>"),
            "a\n\n```\nCopy12 chars / 3 words\n```",
        ),
        (answer("<p>Copy12 chars / 3 words is a footer</p>"), "Copy12 chars / 3 words is a footer"),
    ],
)
def test_text_that_looks_like_noise_stays(value: str, expected: str) -> None:
    assert to_markdown(value) == expected


def test_text_without_tags_is_text() -> None:
    assert to_markdown("a  b\n  List<String> &lt;p&gt; & c") == "a  b\n  List<String> <p> & c"


def test_html_that_is_not_chatgpts_keeps_its_text() -> None:
    text = to_markdown(
        "<dl><dt>term</dt><dd>what it <b>means</b></dd></dl><figure><p>snake_case</p></figure>"
    )
    for part in ("term", "what it **means**", "snake_case"):
        assert part in text


@pytest.mark.parametrize("depth", [300, 900, 1900])
def test_deep_nesting_loses_no_text(depth: int) -> None:
    deep = "<span>" * depth + "deep" + "</span>" * depth
    assert to_markdown(answer(f"<p>before</p><p>{deep}</p><p>after</p>")).split() == [
        "before",
        "deep",
        "after",
    ]


@pytest.mark.parametrize(
    "value", ["<p>a", "a</div></p>", "<p>a<pre>b</p>", "<ul><ul><li>a</ul>", "<table>a</table>", "<b>a"]
)
def test_malformed_html_keeps_its_text(value: str) -> None:
    assert "a" in to_markdown(value)


# What a JSON string can carry and HTML's own rules do not change: no NUL, no bare carriage return.
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00\r"), min_size=1)
MARKS = st.text("ab_*`~#$<>&|[]()\\ \n\t\"'-1.")


@given(code=TEXT | MARKS)
def test_any_code_survives_byte_for_byte(code: str) -> None:
    text = to_markdown(answer(f"<p>a</p>{code_block(code)}<p>b</p>"))
    if not code.strip():
        assert text == "a\n\nb"
        return
    end = "" if code.endswith("\n") else "\n"
    first, rest = text.split("python\n", 1)
    fence = first.removeprefix("a\n\n")
    assert set(fence) == {"`"} and len(fence) >= 3
    assert rest == f"{code}{end}{fence}\n\nb"
    assert not any(line.strip().startswith(fence) for line in code.split("\n"))


@given(code=TEXT | MARKS)
def test_code_in_a_list_is_only_indented(code: str) -> None:
    text = to_markdown(answer(f"<ul><li><p>a</p>{code_block(code)}</li></ul>"))
    dedented = [line.removeprefix("  ") for line in text.split("\n")]
    if code.strip():
        end = 2 if code.endswith("\n") else 1
        assert dedented[3:-1] == code.split("\n")[: -1 if end == 2 else None]


@given(tex=MARKS.filter(str.strip))
def test_any_tex_comes_out_once(tex: str) -> None:
    escaped = html.escape(tex, quote=False)
    assert to_markdown(answer(f"<p>a {INLINE_TEX.format(tex=escaped)}</p>")).startswith(f"a ${tex.strip()}$")


@given(value=st.text() | st.text("<>/&;apuldivreco =\"'1"))
def test_no_html_breaks_it(value: str) -> None:
    value = value.encode("utf-8", "replace").decode()
    assert isinstance(to_markdown(value), str)


@given(words=st.lists(st.text("abcdefg_*", min_size=1), min_size=1))
def test_text_of_paragraphs_is_untouched(words: list[str]) -> None:
    assert to_markdown(answer("".join(f"<p>{word}</p>" for word in words))) == "\n\n".join(words)
