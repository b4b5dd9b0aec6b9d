"""Proof at the start of a run that a model keeps the conversations of a pack apart.

A model whose layers mix along the sequence by other means than transformers' attention interface
(state spaces, convolutions, an attention of its own) would silently learn from its neighbours in the
pack. So the logits of a small pack are compared with what transformers itself computes for each
conversation alone, with its plain attention.
"""

from __future__ import annotations

import math

import torch

from ochat_ray.errors import CheckpointError, one_line
from ochat_ray.train.batch import pack_lists
from ochat_ray.train.model import PackedModel

LENGTHS = (5, 9, 3)
# Relative difference. Leaks are of order 1; rounding is far below these.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}


def check_isolation(model: PackedModel, device: torch.device, dtype: torch.dtype) -> None:
    """Raises CheckpointError naming the architecture if packed and separate logits differ.

    With a sharded model every worker must call this.
    """
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(model.vocab_size, (length,), generator=generator) for length in LENGTHS]
    batch = pack_lists([i.tolist() for i in ids], [[1.0] * len(i) for i in ids])
    name = type(model.hf).__name__
    try:
        with torch.no_grad():
            packed_TV = model.logits(batch.to(device)).float()
            first_TV = model.logits(pack_lists([ids[0].tolist()], [[1.0] * len(ids[0])]).to(device)).float()
            alone_TV = torch.cat([model.plain_logits(i.to(device)) for i in ids]).float()
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error
    except Exception as error:  # a model that is not made for packs fails in ways of its own
        raise CheckpointError(
            f"{name}: cannot be computed in packs ({one_line(error)}); "
            "train another model, such as Llama or Mistral"
        ) from error
    if (difference := _difference(first_TV, alone_TV[: len(first_TV)])) > TOLERANCE[dtype]:
        raise CheckpointError(
            f"{name}: its logits are not those that transformers computes, even for one conversation (they "
            f"differ by {difference:.2g} of their size): its attention or its output head has ways of its "
            "own; train another model, such as Llama or Mistral"
        )
    if (difference := _difference(packed_TV, alone_TV)) > TOLERANCE[dtype]:
        raise CheckpointError(
            f"{name}: does not keep the conversations of a pack apart (logits differ by {difference:.2g} of "
            "their size from each conversation alone); train a model whose layers mix tokens only through "
            "transformers' attention interface, such as Llama or Mistral"
        )


def _difference(ours_TV: torch.Tensor, theirs_TV: torch.Tensor) -> float:
    """Relative; infinite where either is no number."""
    found = ((ours_TV - theirs_TV).norm() / theirs_TV.norm()).item()
    return found if math.isfinite(found) else math.inf
