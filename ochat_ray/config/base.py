"""The base model that training starts from."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ochat_ray.strict import StrictModel


class BaseConfig(StrictModel):
    """Shape of a base model made from scratch. Ignored when one is extended (`--from`)."""

    vocab_size: int = Field(2048, ge=300)
    """Entries of the byte-level BPE vocabulary, special tokens included."""
    hidden_size: int = Field(128, gt=0)
    """Width of the residual stream."""
    intermediate_size: int = Field(384, gt=0)
    """Width of the MLP."""
    layers: int = Field(4, gt=0)
    """Transformer layers."""
    heads: int = Field(4, gt=0)
    """Attention heads."""
    kv_heads: int = Field(2, gt=0)
    """Key and value heads (grouped-query attention)."""
    seed: int = 42
    """Of the random initial weights."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} must be a multiple of heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        return self
