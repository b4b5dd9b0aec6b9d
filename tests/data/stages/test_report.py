"""What the report is called."""

from __future__ import annotations

import pytest

from ochat_ray.data.stages.report import title_of


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["ShareGPT"], "ShareGPT"),
        (["big", "ShareGPT"], "big, ShareGPT"),
        ([f"{n}.jsonl" for n in range(500)], "0.jsonl, 1.jsonl, 2.jsonl and 497 more"),
    ],
)
def test_a_report_is_called_by_its_inputs(names: list[str], title: str) -> None:
    assert title_of(names) == title
