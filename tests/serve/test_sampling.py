"""Sampling follows the distribution, the seed, and OpenAI's penalties and biases."""

from __future__ import annotations

from collections import Counter

import torch

from ochat_ray.serve.engine.request import Generation, SamplingParams
from ochat_ray.serve.engine.sampling import Sampler, sample

CPU = torch.device("cpu")
LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, float("-inf")])


def draws(params: SamplingParams, count: int) -> list[int]:
    sampler = Sampler(Generation([0], sampling=params), CPU)
    return [sample(LOGITS[None].clone(), [sampler])[0] for _ in range(count)]


def test_temperature_zero_takes_the_likeliest() -> None:
    assert draws(SamplingParams(temperature=0.0), 20) == [0] * 20


def test_frequencies_follow_the_softmax_and_impossible_tokens_never_come() -> None:
    count = 4000
    got = Counter(draws(SamplingParams(temperature=1.0, seed=1), count))
    expected = torch.softmax(LOGITS, -1).tolist()
    assert got[4] == 0
    for token in range(4):
        # 5 standard deviations of a binomial share
        spread = 5 * (expected[token] * (1 - expected[token]) / count) ** 0.5
        assert abs(got[token] / count - expected[token]) < spread


def test_top_p_keeps_the_fewest_tokens_that_reach_it() -> None:
    shares = torch.softmax(LOGITS, -1)
    assert set(draws(SamplingParams(temperature=1.0, top_p=0.0, seed=1), 50)) == {0}
    two = float(shares[0] + shares[1])
    assert set(draws(SamplingParams(temperature=1.0, top_p=two - 0.01, seed=1), 300)) == {0, 1}
    assert set(draws(SamplingParams(temperature=1.0, top_p=two + 0.01, seed=1), 600)) == {0, 1, 2}


def test_a_seed_draws_the_same_whatever_runs_beside_it() -> None:
    params = [
        SamplingParams(temperature=1.0, seed=5),
        SamplingParams(temperature=0.7, top_p=0.9, seed=5),
        SamplingParams(),
    ]
    alone = [draws(p, 30) for p in params]
    samplers = [Sampler(Generation([0], sampling=p), CPU) for p in params]
    together = [sample(LOGITS.repeat(3, 1), samplers) for _ in range(30)]
    assert [list(column) for column in zip(*together, strict=True)] == alone
    assert alone[0] != draws(SamplingParams(temperature=1.0, seed=6), 30)


def test_neither_the_sign_of_a_seed_nor_a_choice_makes_another_seed_s_draws() -> None:
    asked = [(seed, choice) for seed in (-5, -4, 4, 5) for choice in (0, 1)]
    params = [SamplingParams(temperature=1.0, seed=seed, choice=choice) for seed, choice in asked]
    assert len({tuple(draws(p, 40)) for p in params}) == len(asked)
    assert [draws(p, 40) for p in params] == [draws(p, 40) for p in params]


def test_no_seed_draws_differently_each_time() -> None:
    params = SamplingParams(temperature=1.0)
    assert draws(params, 40) != draws(params, 40)


def test_presence_counts_once_and_frequency_every_time() -> None:
    # Token 0 leads token 1 by 1: one presence penalty of 1.5 turns that, a second token 0 adds nothing.
    assert draws(SamplingParams(presence_penalty=1.5), 4) == [0, 1, 0, 0]
    # With frequency the lead is eaten up step by step.
    assert draws(SamplingParams(frequency_penalty=0.4), 6) == [0, 0, 0, 1, 0, 1]
    assert draws(SamplingParams(frequency_penalty=-1.0), 3) == [0, 0, 0]


def test_logit_bias_forbids_and_forces() -> None:
    assert draws(SamplingParams(logit_bias={0: -100.0}), 3) == [1, 1, 1]
    assert draws(SamplingParams(logit_bias={3: 100.0}), 3) == [3, 3, 3]
