"""The plan: nothing lost, nothing over capacity, the same for any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.train.packing import Plan, make_plan

LENGTHS = st.lists(st.integers(1, 256), min_size=1, max_size=200)


def plan_of(lengths: list[int], bins: int, *, epochs: int = 2, seed: int = 7) -> Plan:
    return make_plan(np.array(lengths), max_tokens=256, bins_per_step=bins, epochs=epochs, seed=seed)


@given(LENGTHS, st.integers(1, 8))
@settings(deadline=None)
def test_every_epoch_holds_every_conversation_once(lengths: list[int], bins: int) -> None:
    plan = plan_of(lengths, bins)
    start = 0
    for end in plan.epoch_ends:
        seen = np.concatenate([plan.step(step) for step in range(start, end)])
        assert sorted(seen) == list(range(len(lengths)))
        start = int(end)
    assert start == plan.steps


@given(LENGTHS, st.integers(1, 8))
@settings(deadline=None)
def test_bins_stay_within_capacity_and_make_up_their_step(lengths: list[int], bins: int) -> None:
    plan = plan_of(lengths, bins)
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


def test_steps_of_real_sizes_are_nearly_full_and_balanced() -> None:
    lengths = np.random.default_rng(0).lognormal(6, 0.9, 20_000).astype(np.int64).clip(16, 2048)
    plan = make_plan(lengths, max_tokens=8192, bins_per_step=16, epochs=1, seed=0)
    ends = np.concatenate([[0], lengths[plan.order].cumsum()])
    loads = np.diff(ends[plan.bounds]).reshape(-1, 16)[:-1]  # the last step is a partial one
    assert loads.sum() / (loads.size * 8192) > 0.99
    assert (loads.mean(1) / loads.max(1)).mean() > 0.99


def test_a_saved_plan_is_read_back_the_same(tmp_path: Path) -> None:
    plan = plan_of([5, 9, 200, 31], 2)
    plan.save(tmp_path / "plan.npz")
    assert Plan.load(tmp_path / "plan.npz").hash == plan.hash
