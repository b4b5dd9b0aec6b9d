"""Choosing the next token of each request. R: requests of the step, V: vocabulary."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from ochat_ray.serve.engine.request import SamplingParams

GREEDY_BELOW = 1e-4  # temperatures under this overflow to the same choice


class Sampler:
    """The state of one request's choices: its parameters, random numbers and what it has generated.

    A request draws one number a token from a generator of its own, so that its seed decides its text
    whatever else runs beside it, on any device.
    """

    def __init__(self, params: SamplingParams, device: torch.device) -> None:
        self.params = params
        self.greedy = params.temperature < GREEDY_BELOW
        # Of a string every bit counts; of a number Python drops the sign.
        self._random = random.Random(None if params.seed is None else f"{params.seed}/{params.choice}")
        self._counts: Counter[int] | None = (
            Counter() if params.presence_penalty or params.frequency_penalty else None
        )
        bias = params.logit_bias
        self._bias = (
            (torch.tensor(list(bias), device=device), torch.tensor(list(bias.values()), device=device))
            if bias
            else None
        )

    def adjust(self, logits_V: Tensor) -> None:
        """Apply bias and penalties in place (OpenAI's definition, over generated tokens)."""
        if self._bias is not None:
            logits_V.index_add_(0, self._bias[0], self._bias[1])
        if self._counts:
            ids = torch.tensor(list(self._counts), device=logits_V.device)
            counts = torch.tensor(list(self._counts.values()), device=logits_V.device, dtype=logits_V.dtype)
            penalty = self.params.presence_penalty + self.params.frequency_penalty * counts
            logits_V.index_add_(0, ids, -penalty)

    def draw(self) -> float:
        """The next of the request's random numbers, in [0, 1)."""
        return self._random.random()

    def saw(self, token_id: int) -> None:
        """Note a generated token."""
        if self._counts is not None:
            self._counts[token_id] += 1


@torch.inference_mode()
def sample(logits_RV: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """The next token of each request. Overwrites `logits_RV`, which must be float32."""
    for logits_V, sampler in zip(logits_RV, samplers, strict=True):
        sampler.adjust(logits_V)
    tokens_R = logits_RV.argmax(-1)
    # A request's way of drawing must not depend on its neighbours: equal seeds would draw differently.
    for nucleus in (False, True):
        rows = [r for r, s in enumerate(samplers) if not s.greedy and (s.params.top_p < 1) == nucleus]
        if rows:
            tokens_R[rows] = _draw(logits_RV[rows], [samplers[row] for row in rows], nucleus)
    tokens: list[int] = tokens_R.tolist()
    for token, sampler in zip(tokens, samplers, strict=True):
        sampler.saw(token)
    return tokens


def _draw(logits_RV: Tensor, samplers: Sequence[Sampler], nucleus: bool) -> Tensor:
    """Inverse-transform sampling; with `nucleus` from the fewest likeliest tokens that reach top_p
    (Holtzman et al., The Curious Case of Neural Text Degeneration, 2020)."""
    device = logits_RV.device
    columns = [[s.params.temperature, s.params.top_p, s.draw()] for s in samplers]
    temperature_R, top_p_R, uniform_R = torch.tensor(columns, dtype=torch.float64, device=device).unbind(1)
    probs_RV = torch.softmax(logits_RV / temperature_R[:, None].to(logits_RV.dtype), -1)
    if not nucleus:
        mass_RV = probs_RV.cumsum(-1, dtype=torch.float64)
        return _invert(mass_RV, mass_RV[:, -1], uniform_R)[:, 0]
    probs_RV, ids_RV = probs_RV.sort(dim=-1, descending=True, stable=True)
    mass_RV = probs_RV.cumsum(-1, dtype=torch.float64)
    last_R1 = (mass_RV < top_p_R[:, None] * mass_RV[:, -1:]).sum(-1, keepdim=True)
    return ids_RV.gather(-1, _invert(mass_RV, mass_RV.gather(-1, last_R1)[:, 0], uniform_R))[:, 0]


def _invert(mass_RV: Tensor, total_R: Tensor, uniform_R: Tensor) -> Tensor:
    """The first index [R 1] at which the mass passes the drawn share of the total."""
    # Below the total even after rounding, so that a token without probability is never chosen.
    target_R = torch.minimum(uniform_R * total_R, total_R.nextafter(torch.zeros_like(total_R)))
    return torch.searchsorted(mass_RV, target_R[:, None], right=True)
