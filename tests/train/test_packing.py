"""The plan: nothing lost, nothing over capacity, the same for any number of workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ochat_ray.train.packing import Plan, make_plan

LENGTHS = st.lists(st.integers(1, 256), min_size=1, max_size=200)
COSTS = st.sampled_from([0.0, 1e-5, 1e-2, 10.0])


def plan_of(lengths: list[int], bins: int, *, epochs: int = 2, seed: int = 7, cost: float = 1e-3) -> Plan:
    return make_plan(
        np.array(lengths),
        max_tokens=256,
        bins_per_step=bins,
        epochs=epochs,
        seed=seed,
        attention_cost=cost,
    )


def chats(count: int) -> NDArray[np.int64]:
    """Lengths like those of shared chats."""
    return np.random.default_rng(0).lognormal(6, 0.9, count).astype(np.int64).clip(16, 2048)


def of_bins(plan: Plan, values: NDArray[Any]) -> NDArray[Any]:
    """Sum over each bin, (steps, bins); without the last step, which is a partial one."""
    ends = np.concatenate([[0], values[plan.order].cumsum()])
    return np.diff(ends[plan.bounds]).reshape(-1, plan.bins_per_step)[:-1]


@given(LENGTHS, st.integers(1, 8), COSTS)
@settings(deadline=None)
def test_every_epoch_holds_every_conversation_once(lengths: list[int], bins: int, cost: float) -> None:
    plan = plan_of(lengths, bins, cost=cost)
    start = 0
    for end in plan.epoch_ends:
        steps = [plan.step(step) for step in range(start, end)]
        assert all(len(step) for step in steps)
        seen = np.concatenate(steps)
        assert sorted(seen) == list(range(len(lengths)))
        start = int(end)
    assert start == plan.steps


@given(LENGTHS, st.integers(1, 8), COSTS)
@settings(deadline=None)
def test_bins_stay_within_capacity_and_make_up_their_step(lengths: list[int], bins: int, cost: float) -> None:
    plan = plan_of(lengths, bins, cost=cost)
    sizes = np.array(lengths)
    for step in range(plan.steps):
        held = [plan.bin(step, index) for index in range(bins)]
        assert all(sizes[conversations].sum() <= 256 for conversations in held)
        assert np.array_equal(np.concatenate(held), plan.step(step))


@given(LENGTHS)
@settings(deadline=None)
def test_any_number_of_workers_shares_out_the_same_bins(lengths: list[int]) -> None:
    plan = plan_of(lengths, 4)
    for world_size in (1, 2, 4):
        shares = [
            conversation
            for step in range(plan.steps)
            for rank in range(world_size)
            for index in range(rank, 4, world_size)
            for conversation in plan.bin(step, index)
        ]
        assert sorted(shares) == sorted(list(range(len(lengths))) * 2)


@given(LENGTHS, st.integers(1, 8))
@settings(deadline=None)
def test_the_same_inputs_give_the_same_plan(lengths: list[int], bins: int) -> None:
    assert plan_of(lengths, bins).hash == plan_of(lengths, bins).hash


def test_order_differs_between_epochs_and_seeds() -> None:
    lengths = [10] * 100
    plan = plan_of(lengths, 2)
    assert not np.array_equal(plan.order[:100], plan.order[100:])
    assert plan.hash != plan_of(lengths, 2, seed=8).hash


@pytest.mark.parametrize("width", [128, 4096])
def test_steps_of_real_sizes_are_nearly_full_and_take_workers_equally_long(width: int) -> None:
    lengths, cost = chats(40_000), 1 / (12 * width)
    plan = make_plan(lengths, max_tokens=28672, bins_per_step=8, epochs=1, seed=0, attention_cost=cost)
    computed = of_bins(plan, lengths + cost * lengths**2.0)
    assert of_bins(plan, lengths).mean() / 28672 > 0.995
    assert (computed.mean(1) / computed.max(1)).mean() > 0.995


def test_bins_are_balanced_in_computation_where_tokens_alone_would_not_do() -> None:
    lengths = chats(20_000)

    def balance(cost: float) -> float:
        plan = make_plan(lengths, max_tokens=4096, bins_per_step=32, epochs=1, seed=0, attention_cost=cost)
        computed = of_bins(plan, lengths + 1e-3 * lengths**2.0)
        return float((computed.mean(1) / computed.max(1)).mean())

    assert 1 - balance(1e-3) < 0.5 * (1 - balance(0.0))


def test_conversations_of_any_length_come_all_through_an_epoch() -> None:
    lengths = chats(20_000)
    plan = make_plan(lengths, max_tokens=4096, bins_per_step=4, epochs=1, seed=0, attention_cost=1e-4)
    means = np.array([lengths[plan.step(step)].mean() for step in range(plan.steps - 1)])
    first, second = np.array_split(means, 2)
    assert abs(first.mean() - second.mean()) < 4 * means.std() * (4 / len(means)) ** 0.5


def test_the_hash_is_of_all_that_decides_the_plan() -> None:
    lengths = chats(200)
    settings = {"max_tokens": 4096, "bins_per_step": 2, "epochs": 1, "seed": 0, "attention_cost": 1e-3}
    others: dict[str, float] = {"max_tokens": 2048, "bins_per_step": 4, "epochs": 2, "seed": 1}
    others["attention_cost"] = 0.0
    hashes = {make_plan(lengths, **{**settings, name: other}).hash for name, other in others.items()}
    hashes.add(make_plan(lengths[::-1], **settings).hash)
    assert make_plan(lengths, **settings).hash not in hashes and len(hashes) == 6


def test_a_saved_plan_is_read_back_the_same(tmp_path: Path) -> None:
    plan = plan_of([5, 9, 200, 31], 2)
    plan.save(tmp_path / "plan.npz")
    assert Plan.load(tmp_path / "plan.npz").hash == plan.hash
