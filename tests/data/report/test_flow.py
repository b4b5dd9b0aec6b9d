"""The drawing of the funnel: true to its numbers, and within its frame."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ochat_ray.data.report import flow
from ochat_ray.data.report.flow import Flow
from ochat_ray.data.report.schema import Stage

Draw = Callable[[list[Stage]], Flow]
STAGES = [
    Stage(stage="read", count=1000),
    Stage(stage="understood", count=600, dropped={"bad_json": 300, "no_data": 100}),
    Stage(stage="distinct", count=600),
    Stage(stage="kept", count=0, dropped={f"reason_{n}": 100 - n for n in range(6)} | {"model": 15}),
]
both = pytest.mark.parametrize("draw", [flow.across, flow.down])


def numbers(path: str) -> list[float]:
    return [
        float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"A\S+ \S+ \S+ \S+ \S+", "", path))
    ]


@both
def test_every_stage_and_reason_is_written(draw: Draw) -> None:
    texts = [label.text for label in draw(STAGES).labels]
    for text in ("read", "1,000", "\u2212400", "300 bad_json", "100 no_data", "distinct", "0"):
        assert text in texts
    assert "212 3 other reasons" not in texts
    assert any(text.endswith("other reasons") for text in texts)


@both
def test_widths_are_in_proportion(draw: Draw) -> None:
    drawn = draw(STAGES)
    across = 1 if draw is flow.across else 0

    def width(path: str) -> float:
        return max(numbers(path)[across::2]) - min(numbers(path)[across::2])

    kept = [width(path) for path in drawn.kept]
    assert len(kept) == 2  # nothing is left to flow into the last stage
    assert kept[0] == pytest.approx(kept[1])
    whole = max(numbers(drawn.dropped[0])[across::2])
    assert whole > kept[0]
    first, second = (numbers(path) for path in drawn.dropped[:2])
    wide = [abs(path[across + 14] - path[across]) for path in (first, second)]
    assert wide[0] == pytest.approx(3 * wide[1], rel=0.02)
    assert wide[0] + wide[1] == pytest.approx(kept[0] * 400 / 600, rel=0.02)


@both
def test_nothing_is_drawn_outside_the_frame(draw: Draw) -> None:
    for stages in (STAGES, STAGES[:1], [Stage(stage="read", count=0)], STAGES[:3] * 1):
        drawn = draw(stages)
        for path in drawn.kept + drawn.dropped + drawn.heads:
            places = numbers(path)
            assert all(-4 <= x <= drawn.width for x in places[::2]), path
            assert all(-4 <= y <= drawn.height for y in places[1::2]), path
        assert all(0 <= label.y <= drawn.height and 0 <= label.x <= drawn.width for label in drawn.labels)


@both
def test_a_few_can_be_seen_beside_many(draw: Draw) -> None:
    drawn = draw(
        [Stage(stage="read", count=10**7), Stage(stage="kept", count=10**7 - 1, dropped={"error": 1})]
    )
    assert len(drawn.dropped) == 1
    assert "1 error" in [label.text for label in drawn.labels]
