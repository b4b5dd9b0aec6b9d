"""Weighted cross-entropy over the rows that carry loss, in chunks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

# Logits of one chunk, elements: 256 MiB in float32.
CHUNK_ELEMENTS = 2**26

Head = Callable[[torch.Tensor], torch.Tensor]


def packed_loss(
    hidden_TH: torch.Tensor,
    labels_T: torch.Tensor,
    weights_T: torch.Tensor,
    head: Head,
    *,
    vocab_size: int,
    divisor: float,
    chunk_rows: int | None = None,
) -> torch.Tensor:
    """`sum(weight * cross-entropy) / divisor`, a float32 scalar.

    With the target weight of the whole optimizer step as `divisor`, the sum over all bins and workers
    is exactly the step's weighted mean, whatever the split: no worker needs to know the others'.
    """
    losses_T = row_losses(hidden_TH, labels_T, weights_T, head, vocab_size=vocab_size, chunk_rows=chunk_rows)
    return losses_T.sum() / divisor


def row_losses(
    hidden_TH: torch.Tensor,
    labels_T: torch.Tensor,
    weights_T: torch.Tensor,
    head: Head,
    *,
    vocab_size: int,
    chunk_rows: int | None = None,
) -> torch.Tensor:
    """`weight * cross-entropy` of each row, float32, (T,).

    `head` maps hidden rows to logits. Rows of weight 0 never reach it; where there is more than one
    chunk, each is computed again in the backward pass, so that the logits of only one exist at a time.
    """
    rows = torch.nonzero(weights_T).squeeze(1)
    hidden, labels, weights = hidden_TH[rows], labels_T[rows], weights_T[rows]
    chunk_rows = chunk_rows or max(CHUNK_ELEMENTS // vocab_size, 1)

    def part(hidden: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(head(hidden).float(), labels, reduction="none") * weights

    if len(rows) <= chunk_rows:
        losses = part(hidden, labels, weights)
    else:
        pieces = zip(
            hidden.split(chunk_rows), labels.split(chunk_rows), weights.split(chunk_rows), strict=True
        )
        losses = torch.cat([checkpoint(part, *piece, use_reentrant=False) for piece in pieces])
    return losses.new_zeros(len(weights_T)).index_put((rows,), losses)
