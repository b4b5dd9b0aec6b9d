"""Sampling follows the distribution, the seed, and OpenAI's penalties and biases."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare

from ochat_ray.serve.engine.request import Generation, SamplingParams
from ochat_ray.serve.engine.sampling import Sampler, logprobs_of, sample

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


def allowed(logits_V: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """Probabilities of the tokens that may be drawn, plainly: temperature, top_k, top_p, min_p."""
    probs_V = torch.softmax(logits_V.double() / params.temperature, -1)
    order = probs_V.argsort(descending=True)
    kept = order[: params.top_k or len(order)]
    before = probs_V[kept].cumsum(0) - probs_V[kept]
    kept = kept[(before < params.top_p * probs_V[kept].sum()) | (torch.arange(len(kept)) == 0)]
    kept = kept[probs_V[kept] >= params.min_p * probs_V[order[0]]]
    out = torch.zeros_like(probs_V)
    out[kept] = probs_V[kept] / probs_V[kept].sum()
    return out


@pytest.mark.parametrize("spread", [0.1, 3.0])  # flat, so that all must be sorted, and steep
@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=1.0),
        SamplingParams(temperature=0.5, top_p=0.8),
        SamplingParams(temperature=1.0, top_p=0.97),
        SamplingParams(temperature=1.5, top_k=20),
        SamplingParams(temperature=1.0, top_k=700, top_p=0.9),
        SamplingParams(temperature=1.0, min_p=0.2),
        SamplingParams(temperature=1.0, top_k=300, top_p=0.6, min_p=0.05),
    ],
)
def test_draws_follow_the_distribution_that_the_parameters_leave(
    params: SamplingParams, spread: float
) -> None:
    """Chi-square of 8,000 draws against the plain computation, and never a token that is not left."""
    logits_V = torch.randn(1000, generator=torch.Generator().manual_seed(3)) * spread
    expected = allowed(logits_V, params)
    count = 8000
    batch = [Sampler(Generation([0], sampling=replace(params, seed=n)), CPU) for n in range(count)]
    got = torch.zeros(1000, dtype=torch.float64)
    for at in range(0, count, 500):
        for token in sample(logits_V.repeat(500, 1), batch[at : at + 500]):
            got[token] += 1
    assert not got[expected == 0].any()
    # Tokens that are rarely drawn are counted together, as the test wants at least five of each.
    likely = expected * count >= 5
    observed = [*got[likely].tolist(), float(got[~likely].sum())]
    wanted = [*(expected[likely] * count).tolist(), float(expected[~likely].sum() * count)]
    pairs = [(o, w) for o, w in zip(observed, wanted, strict=True) if w >= 5]
    if len(pairs) > 1:
        scale = sum(o for o, _ in pairs) / sum(w for _, w in pairs)
        assert chisquare([o for o, _ in pairs], [w * scale for _, w in pairs]).pvalue > 1e-4


def test_repetition_is_dearer_in_prompt_and_reply() -> None:
    params = SamplingParams(repetition_penalty=3.0)
    sampler = Sampler(Generation([0], sampling=params), CPU)
    # Token 0 is in the prompt: 2 / 3 is less than 1. Then token 1 was generated: 1 / 3 is less than 2 / 3.
    assert [sample(LOGITS[None].clone(), [sampler])[0] for _ in range(2)] == [1, 0]


def test_nothing_ends_a_reply_before_the_fewest_tokens() -> None:
    sampler = Sampler(Generation([0], min_tokens=2), CPU, stop_ids=frozenset({0}))
    assert [sample(LOGITS[None].clone(), [sampler])[0] for _ in range(3)] == [1, 1, 0]


def test_logprobs_are_of_the_model_s_own_distribution() -> None:
    found = logprobs_of(LOGITS, 1, 2)
    expected = torch.log_softmax(LOGITS, -1)
    assert found.logprob == pytest.approx(float(expected[1]))
    assert [token for token, _ in found.top] == [0, 1]
    assert logprobs_of(LOGITS, 1, 0).top == []


def test_numbers_that_overflowed_harm_nobody_else() -> None:
    broken = torch.full((5,), float("nan"))
    asked = [
        SamplingParams(temperature=1.0, seed=5),
        SamplingParams(temperature=1.0, top_p=0.5, seed=5),
        SamplingParams(),
    ]
    for params in asked:
        samplers = [Sampler(Generation([0], sampling=p), CPU) for p in (params, asked[0])]
        broken_token, token = sample(torch.stack([broken, LOGITS]), samplers)
        assert 0 <= broken_token < 5
        assert token == draws(asked[0], 1)[0]
