"""Fine-tuning."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ochat_ray.strict import StrictModel


class TrainConfig(StrictModel):
    """One optimizer step is `bins_per_step` bins of at most `max_tokens`, for any number of workers."""

    num_workers: int = Field(1, gt=0)
    """Ray Train workers; each takes one GPU, or `threads` CPUs."""
    use_gpu: bool | Literal["auto"] = "auto"
    """Train on GPUs; `auto` does where the cluster has one for each worker as the run starts."""
    threads: int = Field(1, gt=0)
    """CPU threads of a worker."""
    epochs: int = Field(5, gt=0)
    """Passes over the data."""
    max_tokens: int = Field(2048, gt=0, multiple_of=64)
    """Capacity of a bin, tokens: what one worker packs into one forward pass."""
    bins_per_step: int = Field(8, gt=0)
    """Bins of one optimizer step over all workers."""
    learning_rate: float = Field(2e-5, gt=0)
    """Peak learning rate of AdamW."""
    min_learning_rate_ratio: float = Field(0.0, ge=0, le=1)
    """Learning rate at the end, as a share of the peak; the way there is a cosine."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of all steps in which the learning rate rises from zero."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's decay rates."""
    eps: float = Field(1e-8, gt=0)
    """AdamW's epsilon."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Clip the gradient's global norm to this."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward and backward pass (weights and optimizer stay float32); `auto`: bfloat16 on GPUs."""
    activation_checkpointing: bool = False
    """Recompute each layer in the backward pass, to save memory."""
    checkpoint_every: int = Field(100, gt=0)
    """Optimizer steps between checkpoints, and between losses on held-out conversations."""
    max_failures: int = Field(3, ge=0)
    """Times that lost workers are replaced, from the last checkpoint, before the run gives up."""
    seed: int = 42
    """Of the order of conversations."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bins_per_step % self.num_workers:
            raise ValueError(
                f"bins_per_step {self.bins_per_step} must be a multiple of num_workers {self.num_workers}, "
                "so that every worker has the same number of forward passes"
            )
        return self
