"""Examples for the report: answers that show something, the same ones whatever order they come in."""

from __future__ import annotations

import random

from ochat_ray.config import FilterConfig
from ochat_ray.data.clean.conversation import clean
from ochat_ray.data.examples import chosen, example_in
from ochat_ray.data.filters import Questions
from ochat_ray.data.read.documents import Document
from ochat_ray.data.report.schema import Example
from tests.data.pages import answer, saved_page

LONG = "<p>" + "word " * 60 + "</p>"
CODE = answer(LONG + "<pre><code class='language-python'>x = 1\n</code></pre>")


def example(*answers: str) -> Example | None:
    items = [item for text in answers for item in (("human", "q"), ("gpt", text))]
    cleaned = clean(Document("a.html", saved_page(items), page=True), FilterConfig(), Questions.NONE)
    assert cleaned.source is not None
    return example_in(cleaned.record, cleaned.source)  # type: ignore[arg-type]


def test_the_answer_with_the_rarest_feature_is_shown() -> None:
    found = example(answer(LONG), CODE, answer("<ul><li>" + "item " * 60 + "</li></ul>"))
    assert found is not None
    assert (found.feature, found.before, found.source) == ("code", CODE, "a.html")
    assert found.after.endswith("```python\nx = 1\n```")


def test_answers_too_short_or_long_to_look_at_are_not_shown() -> None:
    assert example(answer("<p>Hi.</p>"), answer(LONG * 20)) is None


def test_the_choice_is_the_same_in_any_order() -> None:
    kinds = ["code", "table", "text"]
    some = [Example(id=f"{i}", source="s", feature=kinds[i % 3], before="b", after="a") for i in range(30)]  # type: ignore[arg-type]
    found = chosen(some)
    assert [e.feature for e in found] == ["table", "table", "code", "code", "text", "text"]
    assert chosen(random.Random(1).sample(some, 30)) == found
