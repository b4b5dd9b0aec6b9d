"""One bin as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ochat_ray.train.tokens import Tokens


@dataclass(frozen=True)
class PackedBatch:
    """Conversations end to end, each seeing only itself.

    `labels_T[t]` is the token after t in the same conversation and `weights_T[t]` that token's loss
    weight: 0 at each conversation's last token, which predicts nothing. `position_ids_T` counts from
    0 in each conversation; conversation i is at `cu_seqlens[i]:cu_seqlens[i + 1]` (int32).
    """

    input_ids_T: torch.Tensor
    labels_T: torch.Tensor
    weights_T: torch.Tensor
    position_ids_T: torch.Tensor
    cu_seqlens: torch.Tensor
    longest: int

    def to(self, device: torch.device) -> PackedBatch:
        """The same on another device."""
        return PackedBatch(
            self.input_ids_T.to(device, non_blocking=True),
            self.labels_T.to(device, non_blocking=True),
            self.weights_T.to(device, non_blocking=True),
            self.position_ids_T.to(device, non_blocking=True),
            self.cu_seqlens.to(device, non_blocking=True),
            self.longest,
        )


def pack(tokens: Tokens, rows: NDArray[np.int64], scales: NDArray[np.float64]) -> PackedBatch:
    """A bin of rows, the weights of each times its scale; without rows, one token of weight 0."""
    if not len(rows):
        return pack_lists([[0]], [[0.0]])
    found = [tokens.row(int(index)) for index in rows]
    weights = [weights * np.float32(scale) for (_, weights), scale in zip(found, scales, strict=True)]
    return pack_lists([ids for ids, _ in found], weights)


def pack_lists(
    input_ids: list[list[int]] | list[NDArray[np.int32]],
    weights: list[list[float]] | list[NDArray[np.float32]],
) -> PackedBatch:
    """Pack token ids and weights of conversations, each of at least one token."""
    lengths = np.array([len(ids) for ids in input_ids])
    ends = lengths.cumsum()
    ids_T = np.concatenate(input_ids).astype(np.int64)
    labels_T = np.roll(ids_T, -1)
    weights_T = np.roll(np.concatenate(weights).astype(np.float32), -1)
    weights_T[ends - 1] = 0.0
    return PackedBatch(
        input_ids_T=torch.from_numpy(ids_T),
        labels_T=torch.from_numpy(labels_T),
        weights_T=torch.from_numpy(weights_T),
        position_ids_T=torch.from_numpy(np.arange(len(ids_T)) - np.repeat(ends - lengths, lengths)),
        cu_seqlens=torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32)),
        longest=int(lengths.max()),
    )
