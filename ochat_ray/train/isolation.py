"""Proof at the start of a run that a model keeps the conversations of a pack apart.

A model whose layers mix along the sequence by other means than transformers' attention interface
(state spaces, convolutions, an attention of its own) would silently learn from its neighbours in the
pack. So the logits of a small pack are compared with what transformers itself computes for each
conversation alone, with its plain attention.
"""

from __future__ import annotations

import torch

from ochat_ray.errors import CheckpointError
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
    with torch.no_grad():
        packed_TV = model.logits(batch.to(device)).float()
        alone_TV = torch.cat([model.plain_logits(i.to(device)) for i in ids]).float()
    difference = ((packed_TV - alone_TV).norm() / alone_TV.norm()).item()
    if not difference <= TOLERANCE[dtype]:
        raise CheckpointError(
            f"{type(model.hf).__name__}: does not keep the conversations of a pack apart (logits differ by "
            f"{difference:.2g} of their size from each conversation alone); train a model whose layers "
            "mix tokens only through transformers' attention interface, such as Llama or Mistral"
        )
