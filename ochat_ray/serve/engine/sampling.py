"""Choosing the next token of each request. R: requests of the step, V: vocabulary."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ochat_ray.serve.engine.grammar import Grammar
from ochat_ray.serve.engine.request import Generation, SamplingParams, TokenLogprob

GREEDY_BELOW = 1e-4  # temperatures under this overflow to the same choice
LIKELIEST = 256  # tokens that are sorted first; all others only where a request's share needs them


class Sampler:
    """The state of one request's choices: its parameters, random numbers and what it has generated.

    A request draws one number a token from a generator of its own, so that its seed decides its text
    whatever else runs beside it, on any device. `stop_ids` are all tokens that would end it.
    """

    def __init__(
        self,
        generation: Generation,
        device: torch.device,
        *,
        stop_ids: frozenset[int] = frozenset(),
        grammar: Grammar | None = None,
    ) -> None:
        self.params = params = generation.sampling
        self.logprobs = generation.logprobs
        self.greedy = params.temperature < GREEDY_BELOW
        # Of a string every bit counts; of a number Python drops the sign.
        self._random = random.Random(None if params.seed is None else f"{params.seed}/{params.choice}")
        self._counts: Counter[int] = Counter()
        self._generated = 0
        # Where a grammar allows nothing but the end, something must be left to choose.
        self._min_tokens = generation.min_tokens if grammar is None else 0
        self._stop_ids = torch.tensor(sorted(stop_ids), dtype=torch.long, device=device)
        self._prompt_ids = (
            torch.tensor(sorted(set(generation.prompt_ids)), device=device)
            if params.repetition_penalty != 1
            else None
        )
        bias = params.logit_bias
        self._bias = (
            (torch.tensor(list(bias), device=device), torch.tensor(list(bias.values()), device=device))
            if bias
            else None
        )
        self._grammar = grammar

    def adjust(self, logits_V: Tensor) -> None:
        """Apply penalties, bias and what may not be chosen, in place (OpenAI's definitions)."""
        params = self.params
        ids = torch.tensor(list(self._counts), dtype=torch.long, device=logits_V.device)
        if self._prompt_ids is not None:
            seen = torch.cat([self._prompt_ids, ids]).unique()
            values = logits_V[seen]
            penalty = params.repetition_penalty
            logits_V[seen] = torch.where(values > 0, values / penalty, values * penalty)
        if self._counts and (params.presence_penalty or params.frequency_penalty):
            counts = torch.tensor(list(self._counts.values()), device=logits_V.device, dtype=logits_V.dtype)
            logits_V.index_add_(0, ids, -(params.presence_penalty + params.frequency_penalty * counts))
        if self._bias is not None:
            logits_V.index_add_(0, *self._bias)
        if self._generated < self._min_tokens:
            logits_V[self._stop_ids] = -math.inf
        if self._grammar is not None:
            self._grammar.mask(logits_V)
            if not bool(logits_V.isfinite().any()):  # a schema that nothing can follow any further
                logits_V[self._stop_ids] = 0.0

    @property
    def adjusts(self) -> bool:
        """Whether `adjust` would change anything."""
        return (
            self._prompt_ids is not None
            or bool(self._counts)
            or self._bias is not None
            or self._generated < self._min_tokens
            or self._grammar is not None
        )

    def draw(self) -> float:
        """The next of the request's random numbers, in [0, 1)."""
        return self._random.random()

    def saw(self, token_id: int) -> None:
        """Note a generated token."""
        self._generated += 1
        params = self.params
        if params.presence_penalty or params.frequency_penalty or params.repetition_penalty != 1:
            self._counts[token_id] += 1
        if self._grammar is not None:
            self._grammar.accept(token_id)


@torch.inference_mode()
def sample(logits_RV: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """The next token of each request. Overwrites `logits_RV`, which must be float32."""
    for logits_V, sampler in zip(logits_RV, samplers, strict=True):
        if sampler.adjusts:
            sampler.adjust(logits_V)
    tokens_R = logits_RV.argmax(-1)
    # A request's way of drawing must not depend on its neighbours: equal seeds would draw differently.
    for ordered in (False, True):
        rows = [r for r, s in enumerate(samplers) if not s.greedy and _needs_order(s.params) == ordered]
        if rows:
            draw = _draw_likely if ordered else _draw_any
            tokens_R[rows] = draw(logits_RV[rows], [samplers[row] for row in rows])
    tokens: list[int] = tokens_R.tolist()
    for token, sampler in zip(tokens, samplers, strict=True):
        sampler.saw(token)
    return tokens


@torch.inference_mode()
def logprobs_of(logits_V: Tensor, token: int, top: int) -> TokenLogprob:
    """Log-probabilities by the model's own distribution: of `token`, and of the `top` likeliest."""
    logprobs_V = logits_V.log_softmax(-1)
    values, ids = logprobs_V.topk(min(top, len(logprobs_V)))
    return TokenLogprob(float(logprobs_V[token]), list(zip(ids.tolist(), values.tolist(), strict=True)))


def _needs_order(params: SamplingParams) -> bool:
    return params.top_p < 1 or params.top_k > 0 or params.min_p > 0


def _draw_any(logits_RV: Tensor, samplers: Sequence[Sampler]) -> Tensor:
    """Inverse-transform sampling over the whole vocabulary."""
    probs_RV = _probabilities(logits_RV, samplers)
    mass_RV = probs_RV.cumsum(-1, dtype=torch.float64)
    return _invert(mass_RV, mass_RV[:, -1], _column([s.draw() for s in samplers], logits_RV))[:, 0]


def _draw_likely(logits_RV: Tensor, samplers: Sequence[Sampler]) -> Tensor:
    """Inverse-transform sampling from the likeliest: at most top_k, of those the fewest that reach top_p
    (Holtzman et al., The Curious Case of Neural Text Degeneration, 2020), and of those no less likely than
    min_p times the first."""
    probs_RV = _probabilities(logits_RV, samplers)
    asked = [_Likely.of(sampler, probs_RV.shape[-1]) for sampler in samplers]
    values_RK, ids_RK = probs_RV.topk(min(LIKELIEST, probs_RV.shape[-1]), dim=-1)
    # Sorting a whole vocabulary takes long; the likeliest few nearly always hold all that is asked for.
    first_R, last_R, sum_R = (c.tolist() for c in (values_RK[:, 0], values_RK[:, -1], values_RK.sum(-1)))
    many = [
        r
        for r, one in enumerate(asked)
        if not one.top_k <= values_RK.shape[1]
        and not (one.total is not None and (one.top_p < sum_R[r] or last_R[r] < one.min_p * first_R[r]))
    ]
    few = [r for r in range(len(asked)) if r not in many]
    tokens_R = torch.empty(len(asked), dtype=torch.long, device=probs_RV.device)
    if few:
        tokens_R[few] = _choose(values_RK[few], ids_RK[few], [asked[r] for r in few])
    if many:
        values_RV, ids_RV = probs_RV[many].sort(dim=-1, descending=True, stable=True)
        tokens_R[many] = _choose(values_RV, ids_RV, [asked[r] for r in many])
    return tokens_R


class _Likely(NamedTuple):
    """What a request draws from, and its number; `total`: the mass of the `top_k`, where that is known."""

    top_k: int
    top_p: float
    min_p: float
    uniform: float
    total: float | None

    @classmethod
    def of(cls, sampler: Sampler, vocabulary: int) -> _Likely:
        params = sampler.params
        everything = params.top_k == 0 or params.top_k >= vocabulary
        top_k = vocabulary if everything else params.top_k
        return cls(top_k, params.top_p, params.min_p, sampler.draw(), 1.0 if everything else None)


def _choose(values_RK: Tensor, ids_RK: Tensor, asked: Sequence[_Likely]) -> Tensor:
    """The token of each row, of probabilities in falling order."""
    k_R, top_p_R, min_p_R, uniform_R = _column([one[:4] for one in asked], values_RK).unbind(1)
    mass_RK = values_RK.cumsum(-1, dtype=torch.float64)
    rank_K = torch.arange(values_RK.shape[1], device=values_RK.device)
    total_R = [
        float(mass_RK[r, one.top_k - 1]) if one.total is None else one.total for r, one in enumerate(asked)
    ]
    share_R1 = (top_p_R * _column(total_R, values_RK))[:, None]
    # By the mass before a token: the first is always kept.
    kept_RK = (rank_K < k_R[:, None]) & (mass_RK - values_RK < share_R1)
    kept_RK &= values_RK >= min_p_R[:, None] * values_RK[:, :1]
    last_R1 = kept_RK.sum(-1, keepdim=True).clamp(min=1) - 1
    return ids_RK.gather(-1, _invert(mass_RK, mass_RK.gather(-1, last_R1)[:, 0], uniform_R))[:, 0]


def _probabilities(logits_RV: Tensor, samplers: Sequence[Sampler]) -> Tensor:
    temperature_R = _column([s.params.temperature for s in samplers], logits_RV).to(logits_RV.dtype)
    return torch.softmax(logits_RV / temperature_R[:, None], -1)


def _column(values: Sequence[object], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=like.device)


def _invert(mass_RV: Tensor, total_R: Tensor, uniform_R: Tensor) -> Tensor:
    """The first index [R 1] at which the mass passes the drawn share of the total."""
    # Below the total even after rounding, so that a token without probability is never chosen.
    target_R = torch.minimum(uniform_R * total_R, total_R.nextafter(torch.zeros_like(total_R)))
    found_R1 = torch.searchsorted(mass_RV, target_R[:, None], right=True)
    # One request whose numbers overflowed must not end the others with an id that does not exist.
    return found_R1.clamp_(max=mass_RV.shape[1] - 1)
