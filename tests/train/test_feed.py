"""What workers are fed: weights of rows by token, sequence and class; and losses by class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from ochat_ray import columns
from ochat_ray.config import TrainConfig
from ochat_ray.train.evaluate import evaluate
from ochat_ray.train.feed import Feed, Weighting
from ochat_ray.train.packing import make_plan
from ochat_ray.train.strategies import make_strategy
from ochat_ray.train.tokens import Tokens
from tests.train.whole import whole_model

ROWS = [
    ("a", "GPT4", [5, 6, 7, 8], [0, 0, 1, 1]),
    ("b", "GPT3", [9, 10, 11], [0, 0.1, 0.1]),
    ("c", "GPT3", [12, 13], [0, 0.1]),
    ("d", None, [14, 15, 16, 17, 18], [0, 1, 0, 0, 1]),
    ("e", "GPT3", [19, 20], [1, 0]),  # nothing predicts its first token
]


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    """ROWS in two files."""
    files = []
    for part in range(2):
        names = ("id", "class", "input_ids", "weights")
        rows = [dict(zip(names, row, strict=True)) | {"piece": 0} for row in ROWS[part * 3 : part * 3 + 3]]
        table = pa.Table.from_pylist(rows, schema=columns.TOKENS)
        files.append(tmp_path / f"{part}.arrow")
        with pa.ipc.new_file(str(files[-1]), table.schema) as writer:
            writer.write_batch(table.to_batches()[0])
    return Tokens.load(files)


def feed_of(tokens: Tokens, weighting: Weighting = "token", bins: int = 2) -> Feed:
    plan = make_plan(tokens.lengths_N, max_tokens=64, bins_per_step=bins, epochs=1, seed=0)
    return Feed(tokens, plan, weighting)


def test_rows_know_their_ids_classes_and_targets(tokens: Tokens) -> None:
    assert [tokens.id(row) for row in range(5)] == list("abcde")
    classes = tokens.classes
    assert classes.names == ["GPT3", "GPT4", "none"]
    assert classes.numbers_N.tolist() == [1, 0, 0, 2, 0]
    assert tokens.targets_N.tolist() == [2, 2, 1, 2, 0]
    assert tokens.target_weights_N == pytest.approx([2, 0.2, 0.1, 2, 0])


@pytest.mark.parametrize(
    ("weighting", "weights"),
    [
        ("token", [2, 0.2, 0.1, 2, 0]),
        ("sequence", [1, 1, 1, 1, 0]),
        ("class", [10, 1 / 3, 1 / 6, 10, 0]),  # 5 rows, of which 1, 3, 3, 1, 3 are of each one's class
    ],
)
def test_weights_of_rows(tokens: Tokens, weighting: Weighting, weights: list[float]) -> None:
    feed = feed_of(tokens, weighting)
    assert feed.weights_N == pytest.approx(weights)
    assert feed.plan.steps == 1 and feed.divisor(0) == pytest.approx(sum(weights))
    packed = [feed.pack(0, index) for index in range(2)]
    assert sum(float(batch.weights_T.sum()) for batch in packed) == pytest.approx(sum(weights))
    assert (feed.step_tokens(0), feed.step_targets(0), feed.targets_per_step) == (16, 7, 7.0)


def test_a_worker_without_a_bin_gets_one_without_weight(tokens: Tokens) -> None:
    batch = feed_of(tokens).pack(0, 2)
    assert batch.input_ids_T.tolist() == [0] and batch.weights_T.tolist() == [0]
    assert len(feed_of(tokens).rows(0, 5)) == 0


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("weighting", ["token", "sequence", "class"])
def test_held_out_losses_are_weighted_means_by_class(
    tokens: Tokens, base: Path, weighting: Weighting
) -> None:
    feed = feed_of(tokens, weighting, bins=3)
    cpu = torch.device("cpu")
    strategy = make_strategy(TrainConfig(), base, cpu, torch.float32, accumulate=1)
    found = evaluate(strategy, feed, cpu)
    model = whole_model(base)
    sums, weights = np.zeros(3), np.zeros(3)
    for row in range(5):
        ids, own = tokens.row(row)
        logits = model.plain_logits(torch.from_numpy(ids.astype(np.int64)))[:-1]
        costs = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]).long(), reduction="none")
        kind = tokens.classes.numbers_N[row]
        sums[kind] += float((costs.detach() * torch.tensor(own[1:])).sum()) * feed.scales_N[row]
        weights[kind] += feed.weights_N[row]
    assert found["eval_loss"] == pytest.approx(sums.sum() / weights.sum(), rel=1e-5)
    assert found["eval_losses"] == pytest.approx(
        dict(zip(["GPT3", "GPT4", "none"], sums / weights, strict=True)), rel=1e-5
    )
