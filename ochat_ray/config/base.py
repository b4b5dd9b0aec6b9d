"""The base model that training starts from."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ochat_ray.strict import StrictModel


class BaseConfig(StrictModel):
    """A base model: the shape of one made from scratch, and what is done to an existing one (`--from`)."""

    vocab_size: int = Field(2048, ge=300)
    """From scratch: entries of the byte-level BPE vocabulary, special tokens included."""
    hidden_size: int = Field(128, gt=0)
    """From scratch: width of the residual stream."""
    intermediate_size: int = Field(384, gt=0)
    """From scratch: width of the MLP."""
    layers: int = Field(4, gt=0)
    """From scratch: transformer layers."""
    heads: int = Field(4, gt=0)
    """From scratch: attention heads."""
    kv_heads: int = Field(2, gt=0)
    """From scratch: key and value heads (grouped-query attention)."""
    positions: Literal["extrapolate", "linear", "yarn"] = "extrapolate"
    """Of an existing model with fewer positions than the model type's context. `extrapolate` raises the limit
    (OpenChat's way); `linear` squeezes positions into the old one, `yarn` slow rotations only (Peng 2023)."""
    vocab_multiple: int = Field(1, gt=0)
    """Embeddings have a multiple of so many rows (e.g. 64); what fills them up starts as new tokens do."""
    seed: int = 42
    """Of random weights: all of a model from scratch, new rows for StarCoder's family."""

    @field_validator("positions", mode="before")
    @classmethod
    def _check_positions(cls, value: Any) -> Any:
        if value in ("dynamic", "ntk", "longrope"):
            raise ValueError(
                "its angles change with the longest conversation of a pack, so that what is learnt from one "
                "depends on its neighbours; choose extrapolate, linear or yarn"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} must be a multiple of heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        return self
