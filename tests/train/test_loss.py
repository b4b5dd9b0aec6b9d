"""The loss is the step's weighted mean, however the step is cut into bins, workers and chunks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.train.batch import pack_lists
from ochat_ray.train.loss import packed_loss

VOCAB, WIDTH = 11, 6


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[list[int], list[float]]]:
    rows = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    weight = st.sampled_from([0.0, 0.1, 1.0])
    return [
        (
            draw(st.lists(st.integers(0, VOCAB - 1), min_size=n, max_size=n)),
            draw(st.lists(weight, min_size=n, max_size=n)),
        )
        for n in rows
    ]


@given(conversations(), st.integers(1, 5), st.integers(1, 4))
@settings(deadline=None)
def test_equals_the_plain_weighted_mean_for_any_split(
    rows: list[tuple[list[int], list[float]]], bins: int, chunk_rows: int
) -> None:
    torch.manual_seed(0)
    embed, head = torch.randn(VOCAB, WIDTH, requires_grad=True), torch.nn.Linear(WIDTH, VOCAB)
    divisor = sum(sum(weights[1:]) for _, weights in rows) or 1.0

    plain = torch.zeros(())
    for ids, weights in rows:
        losses = F.cross_entropy(head(embed[ids[:-1]]), torch.tensor(ids[1:]).long(), reduction="none")
        plain = plain + (losses * torch.tensor(weights[1:])).sum() / divisor
    (plain_grad,) = torch.autograd.grad(plain, embed, retain_graph=True, allow_unused=True)

    packed = torch.zeros(())
    for index in range(bins):
        mine = rows[index::bins]
        if not mine:
            continue
        batch = pack_lists([ids for ids, _ in mine], [weights for _, weights in mine])
        packed = packed + packed_loss(
            embed[batch.input_ids_T],
            batch.labels_T,
            batch.weights_T,
            head,
            vocab_size=VOCAB,
            divisor=divisor,
            chunk_rows=chunk_rows,
        )
    (packed_grad,) = torch.autograd.grad(packed, embed, allow_unused=True)
    torch.testing.assert_close(packed, plain, atol=1e-6, rtol=1e-6)
    if plain_grad is not None and packed_grad is not None:
        torch.testing.assert_close(packed_grad, plain_grad, atol=1e-6, rtol=1e-5)


def test_nothing_is_predicted_across_a_border() -> None:
    batch = pack_lists([[1, 2, 3], [4, 5]], [[1.0] * 3, [1.0] * 2])
    assert batch.weights_T.tolist() == [1, 1, 0, 1, 0]
    assert batch.labels_T[batch.weights_T > 0].tolist() == [2, 3, 5]
    assert batch.position_ids_T.tolist() == [0, 1, 2, 0, 1]
    assert batch.cu_seqlens.tolist() == [0, 3, 5]
    assert batch.longest == 3


def test_uniform_predictions_cost_the_logarithm_of_the_vocabulary() -> None:
    batch = pack_lists([list(range(8))], [[0.3] * 8])
    loss = packed_loss(
        torch.zeros(8, VOCAB),
        batch.labels_T,
        batch.weights_T,
        torch.nn.Identity(),
        vocab_size=VOCAB,
        divisor=0.3 * 7,
    )
    assert loss.item() == pytest.approx(math.log(VOCAB), rel=1e-6)


def test_a_pack_without_targets_has_a_loss_of_zero_that_reaches_every_weight() -> None:
    head = torch.nn.Linear(WIDTH, VOCAB)
    hidden = torch.randn(1, WIDTH, requires_grad=True)
    batch = pack_lists([np.array([0], np.int32)], [np.array([0], np.float32)])
    loss = packed_loss(hidden, batch.labels_T, batch.weights_T, head, vocab_size=VOCAB, divisor=1.0)
    loss.backward()
    assert loss.item() == 0
    assert hidden.grad is not None and head.weight.grad is not None
    assert not head.weight.grad.any()
