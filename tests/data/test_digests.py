"""What an interrupted run may use again: nothing that a fresh one would make otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from ochat_ray.config import load_recipe
from ochat_ray.data.filters import Questions
from ochat_ray.data.pipeline import _digests, facts_of
from ochat_ray.data.read.find import Inputs
from ochat_ray.storage import storage
from tests.data.stages.jobs import target

STAGES = ["split", "clean", "distinct", "near", "finish"]


def digests(*overrides: str, source: str = "/chats", max_tokens: int = 100) -> dict[str, str]:
    found = Inputs(storage(source), [], [], [source])
    recipe = load_recipe("openchat", list(overrides))
    return _digests(facts_of(found, None, recipe, [target(max_tokens=max_tokens)], Questions.NONE))


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"overrides": ["data.task_mb=7"]}, None),
        ({"source": "/renamed"}, "finish"),  # which titles the report
        ({"overrides": ["data.eval_fraction=0.5"]}, "finish"),
        ({"overrides": ["data.near_duplicates.action=drop"]}, "near"),
        ({"max_tokens": 99}, "distinct"),  # a copy may fit that did not
        ({"overrides": ["data.long_conversations=drop"]}, "distinct"),
        ({"overrides": ["data.filters.models=[]"]}, "distinct"),
        ({"overrides": ["data.filters.personal_data.action=mask"]}, "clean"),
    ],
)
def test_a_change_redoes_the_first_stage_it_matters_to_and_all_behind_it(
    changes: dict[str, Any], first: str | None
) -> None:
    before, after = digests(), digests(*changes.pop("overrides", ()), **changes)
    redone = [stage for stage in STAGES if before[stage] != after[stage]]
    assert redone == (STAGES[STAGES.index(first) :] if first else [])


def test_an_upgrade_redoes_the_report_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests()
    monkeypatch.setattr("ochat_ray.data.pipeline.versions", lambda: {"ray": "3"})
    after = digests()
    assert [stage for stage in STAGES if before[stage] != after[stage]] == ["finish"]
