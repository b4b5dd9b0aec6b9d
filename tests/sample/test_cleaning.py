"""The cleaning against the truth: every page of the sample comes out as it should."""

from __future__ import annotations

import pytest

from ochat_ray import sample
from ochat_ray.config import DataConfig, load_recipe
from ochat_ray.conversation import Conversation
from ochat_ray.data.clean.conversation import clean_page
from ochat_ray.data.records import part_table
from ochat_ray.data.split import split_of
from ochat_ray.data.stages.distinct import judged

# Decided by comparing pages, or by the recipe's models; a single page does not tell.
DECIDED_LATER = {None, "duplicate", "model"}


@pytest.mark.parametrize("page", sample.truth().values(), ids=lambda page: f"{page.kind}-{page.id}")
def test_each_page_comes_out_as_the_truth_says(page: sample.Page) -> None:
    found = clean_page(page.data, f"ShareGPT/{page.id}.html")
    assert found.id == page.id
    if page.reason in DECIDED_LATER:
        assert isinstance(found, Conversation), found
        assert found.model == page.model
    else:
        assert not isinstance(found, Conversation)
        assert found.reason == page.reason
    if page.messages:
        assert [(m.role, m.content) for m in found.messages] == [(m.role, m.content) for m in page.messages]


def test_the_right_copies_and_models_stay() -> None:
    cleaned = [clean_page(page.data, f"{page.id}.html") for page in sample.truth().values()]
    rows = judged(part_table(c for c in cleaned if isinstance(c, Conversation)), (), DataConfig())
    outcome = {row["id"]: row["reason"] for row in rows.to_pylist()}
    assert outcome == {p.id: p.reason for p in sample.truth().values() if p.reason in DECIDED_LATER}


def test_the_demo_trains_on_every_question_it_asks() -> None:
    share = load_recipe("tiny-cpu").data.eval_fraction
    kept = [page for page in sample.truth().values() if page.reason is None]
    splits = [split_of(page.id, share) for page in kept]
    trained = {p.messages[0].content for p, split in zip(kept, splits, strict=True) if split == "train"}
    assert {question.text for question in sample.questions()} <= trained
    assert "eval" in splits
