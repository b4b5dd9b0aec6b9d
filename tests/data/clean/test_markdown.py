"""An assistant's HTML to Markdown: each construct, the noise, and what no content may break."""

from __future__ import annotations

import html
import time

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
    "emphasis inside emphasis": ("<p><em>a <strong>b</strong></em> <del>c</del></p>", "*a **b*** ~~c~~"),
    "superscript": ("<p>10<sup>6</sup> H<sub>2</sub>O</p>", "10<sup>6</sup> H<sub>2</sub>O"),
    "no-break, wide and zero-width spaces": (
        "<p>\u3000a&nbsp;b&nbsp;</p><p>&nbsp;</p><p>\u200b</p>",
        "\u3000a\u00a0b\u00a0\n\n\u200b",
    ),
    "right to left and joined emoji": (
        "<p>\u200f\u05d0 \U0001f468\u200d\U0001f469</p>",
        "\u200f\u05d0 \U0001f468\u200d\U0001f469",
    ),
    "carriage returns are line feeds": ("<pre><code>a\r\nb\rc</code></pre>", "```\na\nb\nc\n```"),
    "text that looks like Markdown": (
        "<p>1. a</p><p># b</p><p>- c</p><p>&gt; d</p>",
        "1. a\n\n# b\n\n- c\n\n> d",
    ),
    "list": ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
    "paragraphs in items are blank lines between them": (
        "<ol><li><p>a</p></li><li><p>b</p></li></ol>",
        "1. a\n\n2. b",
    ),
    "only item with a paragraph": ("<ul><li><p>a</p><ul><li>b</li></ul></li></ul>", "- a\n\n  - b"),
    "code after text in an item": (
        "<ul><li>a<pre><code>b\n</code></pre></li><li>c</li></ul>",
        "- a\n  ```\n  b\n  ```\n- c",
    ),
    "a start that is no number": ('<ol start="-3"><li>a</li></ol>', "1. a"),
    "a start of too many digits": (f'<ol start="{"9" * 5000}"><li>a</li></ol>', "1. a"),
    "inner list that starts late": ('<ul><li>a<ol start="5"><li>b</li></ol></li></ul>', "- a\n\n  5. b"),
    "numbers go on": ('<ol start="9"><li>a</li><li>b<ul><li>c</li></ul></li></ol>', "9. a\n10. b\n    - c"),
    "blocks in an item": ("<ol><li><p>a</p><p>b</p></li><li>c</li></ol>", "1. a\n\n   b\n\n2. c"),
    "list after a paragraph in an item": (
        "<ul><li><p>a</p><ul><li>b</li></ul></li><li><p>c</p></li></ul>",
        "- a\n  - b\n\n- c",
    ),
    "empty item": ("<ul><li></li><li>b</li></ul>", "-\n- b"),
    "tasks": (
        '<ul><li><input type="checkbox" checked disabled> a</li><li><input type="checkbox"> b</li></ul>',
        "- [x] a\n- [ ] b",
    ),
    "table": (
        "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td><code>x|y</code></td></tr></tbody></table>",
        "| a | b |\n| --- | --- |\n| `x\\|y` |  |",
    ),
    "aligned table": (
        '<table><tr><th style="text-align:left">a</th><th align="center">b</th><th>c</th></tr></table>',
        "| a | b | c |\n| :-- | :-: | --- |",
    ),
    "more than a line in a cell": (
        "<table><tr><th>a<br>b</th></tr><tr><td><ul><li>c</li><li>d</li></ul></td></tr></table>",
        "| a<br>b |\n| --- |\n| - c<br>- d |",
    ),
    "formula in a cell": (
        f"<table><tr><td>{INLINE_TEX.format(tex='|x|')}</td></tr></table>",
        "| $\\|x\\|$ |\n| --- |",
    ),
    "caption": ("<table><caption>a</caption><tr><td>b</td></tr></table>", "a\n\n| b |\n| --- |"),
    "footnotes": (
        '<p>a<sup><a href="#user-content-fn-1" id="user-content-fnref-1">1</a></sup></p>'
        '<section data-footnotes class="footnotes"><h2 class="sr-only">Footnotes</h2><ol>'
        '<li id="user-content-fn-1"><p>b <a href="#user-content-fnref-1">\u21a9</a></p></li></ol></section>',
        "a[^1]\n\n[^1]: b",
    ),
    "quote": ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b"),
    "rule": ("<p>a</p><hr><p>b</p>", "a\n\n---\n\nb"),
    "link": (
        '<p><a href="https://a.b/?c=1&amp;d_e=2" target="_new">t</a></p>',
        "[t](https://a.b/?c=1&d_e=2)",
    ),
    "link that shows itself": ('<p><a href="https://a.b">https://a.b</a></p>', "https://a.b"),
    "link to mail": ('<p><a href="mailto:a@b.c">a@b.c</a></p>', "[a@b.c](mailto:a@b.c)"),
    "addresses that need brackets": (
        '<p><a href="/a_(b)">x</a> <a href="/a(b">y</a> <a href="/a b" title="t &quot;u&quot;">z</a></p>',
        '[x](/a_(b)) [y](</a(b>) [z](</a b> "t \\"u\\"")',
    ),
    "image": ('<p><img src="https://a.b/c_d.png" alt="e f"></p>', "![e f](https://a.b/c_d.png)"),
    "image that only one browser has": (
        '<p>a</p><img src="blob:x" alt="b"><img src="data:image/png;base64,x">',
        "a",
    ),
    "code span with backtick": (
        "<p><code>a`b</code> <code>```</code> <code>`c`</code></p>",
        "``a`b`` ` ``` ` `` `c` ``",
    ),
    "code with a label": (code_block("a\n"), "```python\na\n```"),
    "code with a class": ('<pre><code class="hljs language-c++">a</code></pre>', "```c++\na\n```"),
    "code without code element": ("<pre>a <b>b</b>\n</pre>", "```\na b\n```"),
    "code with a class and another label": (
        code_block("a\n", "html").replace("hljs", "hljs language-xml"),
        "```xml\na\n```",
    ),
    "label without a span": (code_block("a\n").replace("<span>python</span>", "python"), "```python\na\n```"),
    "label beside a wrapped button": (
        code_block("a\n", "c#").replace("<button", "<span><button").replace("</button>", "</button></span>"),
        "```c#\na\n```",
    ),
    "label of no language": (code_block("a\n", "visual basic"), "```\na\n```"),
    "no label": (code_block("a\n", ""), "```\na\n```"),
    "bar without a button": (
        '<pre><div><span>python</span></div><div><code class="language-python">a\n</code></div></pre>',
        "```python\na\n```",
    ),
    "bar that alone names the language": ("<pre><div>C#</div><code>a</code></pre>", "```C#\na\n```"),
    "bar whose button is a span": (
        "<pre><div><span>python</span><span>Copy code</span></div><div><code>a\n</code></div></pre>",
        "```python\na\n```",
    ),
    "bar that is nothing but such a button": (
        "<pre><div><span>Copy</span></div><div><code>a</code></div></pre>",
        "```\na\n```",
    ),
    "bar that says something": (
        '<pre><div><b>Listing 3</b></div><div><code class="language-c">a</code></div></pre>',
        "Listing 3\n\n```c\na\n```",
    ),
    "text before code in its line": ("<pre>$ <code>ls</code> -l</pre>", "```\n$ ls -l\n```"),
    "bar over text that is in no code element": (
        "<pre><div><span>c</span><button>Copy code</button></div><div>a\n  b</div></pre>",
        "```c\na\n  b\n```",
    ),
    "line breaks in code": ("<pre>\na<br>b</pre>", "```\na\nb\n```"),
    "lines in code elements of their own": (
        "<pre><code>a</code>\n<code>b</code></pre>",
        "```\na\nb\n```",
    ),
    "code whose bar was never closed": (
        code_block("a\n").replace("</button></div>", "</button>") + "<p>b</p>" + code_block("c\n"),
        "```python\na\n```\n\nb\n\n```python\nc\n```",
    ),
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
    "display maths in emphasis": (
        f'<p><strong>a <span class="katex-display">{KATEX.format(tex="x^2")}</span></strong></p>',
        "a\n\n$$\nx^2\n$$",
    ),
    "maths that holds a dollar": (f"<p>{INLINE_TEX.format(tex='a&#92;$')}</p>", "$$ a\\$ $$"),
    "maths of many lines": (
        f"{DISPLAY_TEX.format(tex='a &amp;= b &#92;tag{1}&#92;&#92;&#10;&#10;c')}",
        "$$\na &= b \\tag{1}\\\\\n\nc\n$$",
    ),
    "maths that KaTeX refused": ('<p><span class="katex-error">&#92;foo{x}</span></p>', "$\\foo{x}$"),
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
        ("2 / 2" + answer(""), ""),
        (answer("") + "Copy1234 chars / 210 words", ""),
        ("<div>Finished browsing<div role='button'><svg></svg></div></div>" + answer("<p>a</p>"), "a"),
        (
            "<div><div>Used <b>Wolfram</b></div></div><div class='empty:hidden'></div>" + answer("<p>a</p>"),
            "a",
        ),
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
        (answer("<p>Used <b>tools</b></p><p>a</p>"), "Used **tools**\n\na"),
        (
            answer("<p>a</p><pre><code>Copy12 chars / 3 words</code></pre>"),
            "a\n\n```\nCopy12 chars / 3 words\n```",
        ),
        (answer("<p>Copy12 chars / 3 words is a footer</p>"), "Copy12 chars / 3 words is a footer"),
    ],
)
def test_text_that_looks_like_noise_stays(value: str, expected: str) -> None:
    assert to_markdown(value) == expected


def test_what_follows_the_end_of_the_page_is_read() -> None:
    assert to_markdown("<p>a</p></body></html><p>b</p><ul><li>c</li></ul>") == "a\n\nb\n\n- c"
    assert to_markdown("<p>a</p></html>b <b>c</b> d</html>e") == "a\n\nb **c** d\n\ne"


def test_text_without_tags_is_text() -> None:
    assert to_markdown("a  b\n  List<String> &lt;p&gt; & c") == "a  b\n  List<String> <p> & c"


FOREIGN = {
    "definitions": (
        "<dl><dt>a</dt><dd>b <b>c</b>" + code_block("d\n") + "</dd></dl>",
        "a\n\nb **c**\n\n```python\nd\n```",
    ),
    "figure": ('<figure><img src="a" alt="b"><figcaption>c</figcaption></figure>', "![b](a)\n\nc"),
    "details": ("<details><summary>a</summary><p>b</p></details>", "a\n\nb"),
    "elements of Bard": (
        '<message-content><div class="markdown"><p data-sourcepos="1:1-1:5">a</p><code-block><pre><code>'
        "b\n</code></pre></code-block><response-element>c</response-element> d</div></message-content>",
        "a\n\n```\nb\n```\n\nc d",
    ),
    "citations of Bing": (
        '<p>a<a href="https://b.c"><sup>1</sup></a> <kbd>d</kbd></p>',
        "a[<sup>1</sup>](https://b.c) `d`",
    ),
    "block in an inline element": ("<b>a<p>b</p></b> c <x-y>d<p>e</p></x-y>", "**a**\n\nb\n\nc\n\nd\n\ne"),
    "text between items": ("<ul>a<li>b</li>c<p>d</p></ul>", "a\n\n- b\n\n  c\n\n  d"),
    "list in no item": ("<ol><li>a</li><ol><li>b</li></ol><li>c</li></ol>", "1. a\n   1. b\n2. c"),
    "item in no list": ("<li>a</li>", "- a"),
    "text between rows": ("<table>a<tr><td>b</td></tr></table>", "a\n\nb"),
    "table in a cell": (
        "<table><tr><td>a<table><tr><td>b</td></tr></table></td></tr></table>",
        "| a \\| b \\| \\| --- \\| |\n| --- |",
    ),
}


@pytest.mark.parametrize(("source", "expected"), FOREIGN.values(), ids=FOREIGN.keys())
def test_html_that_is_not_chatgpts(source: str, expected: str) -> None:
    assert to_markdown(answer(source)) == expected


def test_other_pages_go_to_markdownify() -> None:
    source = "<article><h2>A b</h2><p>snake_case <b>c</b></p><dl><dt>d</dt><dd>e</dd></dl><button>f</button>"
    assert to_markdown(source + "<script>g()</script></article>") == "## A b\n\nsnake_case **c**\n\nd\n:   e"


@pytest.mark.parametrize(
    "sign", ['<div class="markdown">', '<code class="hljs">', "<button>Copy code</button>"]
)
def test_what_has_anything_of_chatgpts_does_not(sign: str) -> None:
    assert ":   e" not in to_markdown(f"<article>{sign}<dl><dt>d</dt><dd>e</dd></dl></article>")


def test_what_markdownify_cannot_take_is_walked() -> None:
    deep = "<main>" + "<i>" * 200 + "a" + "</i>" * 200 + "</main>"
    assert "a" in to_markdown(deep * 10)


@pytest.mark.parametrize("depth", [240, 300, 900, 1900, 100_000])
@pytest.mark.parametrize("tag", ["span", "div", "ul", "blockquote", "x-y"])
def test_deep_nesting_loses_no_text(depth: int, tag: str) -> None:
    deep = f"<{tag}>" * depth + "deep &lt; 1" + f"</{tag}>" * depth
    words = to_markdown(answer(f"<p>before</p>{deep}<p>after</p>")).replace("> ", "").split()
    assert [word for word in words if word != ">"] == ["before", "deep", "<", "1", "after"]


@pytest.mark.parametrize(
    "value",
    [
        "<h1>a" + " " * 1_000_000 + "b",
        "<p>a" + "\n" * 1_000_000 + " words",
        "<p>" + "Copy1 " * 200_000 + " words",
        "<x-y><div>" * 110 + "a",
        "<p><span><div>" * 80 + "a",
        "<ul>a<li>" * 110 + "a",
        "<table><tr><td>" * 60 + "a",
        '<p><a href="' + "(" * 1_000_000 + '">a',
        "<p>" + "<" * 200_000 + "a",
    ],
    ids=lambda value: value[:12],
)
def test_hostile_html_takes_no_more_than_its_length(value: str) -> None:
    began = time.process_time()
    assert to_markdown(value)
    assert time.process_time() - began < 2


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
    escaped, tex = html.escape(tex, quote=False), tex.strip()
    expected = f"a $$ {tex} $$" if "$" in tex else f"a ${tex}$"
    assert to_markdown(answer(f"<p>a {INLINE_TEX.format(tex=escaped)}</p>")) == expected


@given(value=st.text() | st.text("<>/&;apuldivreco =\"'1"))
def test_no_html_breaks_it(value: str) -> None:
    to_markdown(value).encode()


@given(words=st.lists(st.text("abcdefg_*", min_size=1), min_size=1))
def test_text_of_paragraphs_is_untouched(words: list[str]) -> None:
    assert to_markdown(answer("".join(f"<p>{word}</p>" for word in words))) == "\n\n".join(words)
