"""Examples for the report: answers that show something, the same ones whatever order they come in."""

from __future__ import annotations

import random

import pytest

from ochat_ray.config import FilterConfig
from ochat_ray.data.clean.conversation import clean
from ochat_ray.data.examples import chosen, example_in, is_among
from ochat_ray.data.filters import Questions
from ochat_ray.data.read.documents import Document
from ochat_ray.data.report.schema import Example
from tests.data.pages import answer, saved_page

LONG = "<p>" + "word " * 60 + "</p>"
CODE = answer(LONG + "<pre><code class='language-python'>x = 1\n</code></pre>")


def example(*answers: str, question: str = "q", personal: str = "keep") -> Example | None:
    items = [item for text in answers for item in (("human", question), ("gpt", text))]
    config = FilterConfig.model_validate({"personal_data": {"action": personal}})
    cleaned = clean(Document("a.html", saved_page(items), page=True), config, Questions.NONE)
    assert cleaned.source is not None
    return example_in(cleaned.record, cleaned.source, config.personal_data)  # type: ignore[arg-type]


def test_the_answer_with_the_rarest_feature_is_shown() -> None:
    found = example(answer(LONG), CODE, answer("<ul><li>" + "item " * 60 + "</li></ul>"))
    assert found is not None
    assert (found.feature, found.before, found.source) == ("code", CODE, "a.html")
    assert found.after.endswith("```python\nx = 1\n```")


def test_answers_too_short_or_long_to_look_at_are_not_shown() -> None:
    assert example(answer("<p>Hi.</p>"), answer(LONG * 20)) is None


@pytest.mark.parametrize(
    "address",
    [
        "olga@sysu.edu.cn",
        "olga&#64;sysu.edu.cn",
        "<i title='olga@sysu.edu.cn'>x</i>",
    ],
)
def test_what_is_masked_after_is_not_shown_before(address: str) -> None:
    told = answer(f"<p>Ask {address}, {'word ' * 60}</p>")
    assert example(told, personal="mask") is None
    assert example(told) is not None
    shown = example(told, CODE, question="I am olga@sysu.edu.cn", personal="mask")
    assert shown is not None and shown.before == CODE


def some(count: int, source: str = "s") -> list[Example]:
    kinds = ["code", "table", "text"]
    return [
        Example(id=f"{i}", source=source, feature=kinds[i % 3], before=f"{i}", after="a")
        for i in range(count)
    ]  # type: ignore[arg-type]


def test_the_choice_is_the_same_in_any_order() -> None:
    found = chosen(some(30))
    assert [e.feature for e in found] == ["table", "table", "code", "code", "text", "text"]
    assert chosen(random.Random(1).sample(some(30), 30)) == found
    twins = [one for source in "ab" for one in some(6, source)]
    twins += [one.model_copy(update={"before": "other"}) for one in twins]
    assert chosen(twins) == chosen(twins[::-1])


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_the_choice_is_the_same_however_the_documents_are_cut_into_parts(size: int) -> None:
    everything = some(1000)
    expected = [one for one in chosen(everything) if is_among(one.id, 1000)]
    assert len(expected) == 6
    parts = [everything[start : start + size] for start in range(0, 1000, size)]
    kept = [chosen(one for one in part if is_among(one.id, len(part))) for part in parts]
    assert [one for one in chosen(one for part in kept for one in part) if is_among(one.id, 1000)] == expected
