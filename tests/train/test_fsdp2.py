"""What may be switched in FSDP2 changes where and how fast it computes, not what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ochat_ray.config import TrainConfig
from ochat_ray.train.batch import PackedBatch, pack_lists
from ochat_ray.train.model import parameters
from ochat_ray.train.strategies import Strategy, make_strategy
from tests.train.whole import whole_model

pytestmark = pytest.mark.usefixtures("alone")
RATE = 1e-2


def batches() -> list[PackedBatch]:
    """The two bins of a step."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(300, (length,), generator=generator).tolist() for length in (9, 5, 17, 3)]
    weights = [[0.0] + [1.0] * (len(row) - 1) for row in rows]
    return [pack_lists(rows[:2], weights[:2]), pack_lists(rows[2:], weights[2:])]


def strategy_of(base: Path, dtype: torch.dtype = torch.float32, **settings: Any) -> Strategy:
    return make_strategy(TrainConfig(**settings), base, torch.device("cpu"), dtype, accumulate=2)


def losses_of(strategy: Strategy, steps: int = 3) -> list[float]:
    """Of each step, over both of its bins."""
    found = []
    for _ in range(steps):
        losses = []
        for last, batch in enumerate(batches()):
            losses.append(strategy.loss(batch, 30.0))
            strategy.backward(losses[-1], last=bool(last))
        strategy.step(RATE, lambda _: True)
        found.append(sum(loss.item() for loss in losses))
    return found


@pytest.fixture(scope="module")
def plain(base: Path, alone: None) -> list[float]:  # noqa: ARG001  (its process group)
    """Losses without anything switched on."""
    return losses_of(strategy_of(base))


def test_is_the_base_model_and_learns(base: Path, plain: list[float]) -> None:
    model = whole_model(base)
    first = sum(model(batch, 30.0).item() for batch in batches())
    assert plain[0] == pytest.approx(first, abs=1e-6)
    assert plain[2] < plain[1] < plain[0]


@pytest.mark.parametrize("switched", ["activation_checkpointing", "cpu_offload"])
def test_savings_of_memory_change_nothing(base: Path, plain: list[float], switched: str) -> None:
    assert losses_of(strategy_of(base, **{switched: True})) == pytest.approx(plain, abs=1e-6)


def test_bfloat16_is_near(base: Path, plain: list[float]) -> None:
    strategy = strategy_of(base, torch.bfloat16)
    assert losses_of(strategy) == pytest.approx(plain, rel=0.02)
    assert all(weight.dtype == torch.float32 for _, weight in strategy.named())


@pytest.mark.slow
def test_compiled_layers_compute_the_same(base: Path, plain: list[float]) -> None:
    assert losses_of(strategy_of(base, compile=True)) == pytest.approx(plain, abs=1e-5)


def test_a_refused_update_leaves_all_as_it_was(base: Path, plain: list[float]) -> None:
    strategy = strategy_of(base)
    before = {name: strategy.whole(weight).clone() for name, weight in strategy.named()}
    for last, batch in enumerate(batches()):
        strategy.backward(strategy.loss(batch, 30.0), last=bool(last))
    norms: list[float] = []
    norm = strategy.step(RATE, lambda norm: bool(norms.append(norm)))
    assert norms == [norm] and norm > 0
    assert all(torch.equal(before[name], strategy.whole(weight)) for name, weight in strategy.named())
    assert losses_of(strategy) == plain


def test_conversation_losses_add_up_to_the_loss(base: Path) -> None:
    strategy = strategy_of(base)
    for batch in batches():
        with torch.no_grad():
            parts, whole = strategy.model.conversation_losses(batch), strategy.loss(batch, 1.0)
        strategy.evaluated()
        assert parts.shape == (2,) and (parts > 0).all()
        assert parts.sum().item() == pytest.approx(whole.item(), rel=1e-6)


def test_a_restored_state_goes_on_bit_for_bit(base: Path, plain: list[float], tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    first = strategy_of(base)
    assert losses_of(first, 2) == plain[:2]
    dcp.save(first.state(), checkpoint_id=tmp_path)
    second = strategy_of(base)
    second.load(tmp_path, updates=2)
    assert losses_of(second, 1) == plain[2:]
    assert len(first.state()) == 3 * len([*parameters(first.model)])
