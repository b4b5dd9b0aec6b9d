"""Fine-tuning."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ochat_ray.config.pool import Pool
from ochat_ray.strict import StrictModel


class LoraConfig(StrictModel):
    """Low-rank adapters (Hu et al. 2021) by peft in place of full fine-tuning."""

    rank: int = Field(0, ge=0)
    """Rank of the adapters; 0 trains all weights."""
    alpha: float = Field(16.0, gt=0)
    """Scale: what an adapter adds is multiplied by alpha / rank."""
    targets: tuple[str, ...] = ("all-linear",)
    """Names of the modules that get an adapter; `all-linear` for every linear layer but the output head."""
    train_embeddings: bool = True
    """Also train the embeddings and the output head: new special tokens need it."""
    export: Literal["merged", "adapter"] = "merged"
    """Export a whole model, or the adapter alone."""

    @property
    def alone(self) -> bool:
        """Whether an adapter is all that is exported."""
        return self.rank > 0 and self.export == "adapter"


class CheckpointConfig(StrictModel):
    """When checkpoints are written, where, and which are kept. Training goes on meanwhile."""

    folder: str | None = None
    """Folder or s3:// or gs:// URI that every worker reaches, for a folder of the run's own in it; null for
    OUTPUT/checkpoints."""
    every_minutes: float = Field(20.0, gt=0)
    """Minutes between checkpoints; further ones at the end of each epoch and when the run is told to stop."""
    every_steps: int | None = Field(None, gt=0)
    """Optimizer steps between checkpoints, as well; null for none."""
    keep: int = Field(2, gt=0)
    """Newest checkpoints kept, and beside them the one of the lowest loss on held-out conversations, which
    is written whenever there is a lower one."""


class ExportConfig(StrictModel):
    """The Hugging Face folder at the end."""

    every_epoch: bool = False
    """Also export to OUTPUT/epochs/N at the end of each epoch."""
    shard_gb: float = Field(5.0, gt=0)
    """Most gigabytes of one safetensors file."""
    push_to: str | None = None
    """Model hub repository (OWNER/NAME) that the finished model is uploaded to, with HF_TOKEN."""


class TrackConfig(StrictModel):
    """Where losses and rates go, beside OUTPUT/losses.jsonl and training.html."""

    tensorboard: bool = True
    """Event files in OUTPUT/tensorboard, where TensorBoard is installed."""
    mlflow: str | None = None
    """Tracking URI of MLflow, e.g. http://127.0.0.1:5000 or sqlite:///mlflow.db."""
    wandb: str | None = None
    """Project of Weights & Biases; WANDB_MODE=offline keeps it on disk."""


class TrainConfig(StrictModel):
    """One optimizer step is `bins_per_step` bins of at most `max_tokens`, for any number of workers."""

    num_workers: int = Field(1, gt=0)
    """Ray Train workers; each takes one GPU, or `threads` CPUs."""
    min_workers: int | None = Field(None, gt=0)
    """Elastic: go on with so few while nodes are missing, with more as they come, each time from the last
    checkpoint; null for num_workers."""
    use_gpu: bool | Literal["auto"] = "auto"
    """Train on GPUs; `auto` does where the cluster has one for each worker as the run starts."""
    threads: int = Field(1, gt=0)
    """CPU threads of a worker."""
    pool: Pool | None = None
    """Custom resource of the nodes to run on, so that training has nodes of its own; null for any node."""
    strategy: Literal["fsdp2", "zero1", "zero2", "zero3"] = "fsdp2"
    """How the model is spread over workers: torch's FSDP2, or a stage of DeepSpeed's ZeRO."""
    deepspeed: str | None = None
    """A DeepSpeed JSON of one's own, for settings beyond those here; needs a zero strategy."""
    cpu_offload: bool = False
    """Keep optimizer state (and sharded weights) in the memory of the host."""
    activation_checkpointing: bool = False
    """Recompute each layer in the backward pass, to save memory."""
    compile: bool = False
    """Compile each layer (torch.compile): slow first steps, faster later ones on GPUs."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward and backward pass (weights and optimizer stay float32); `auto`: bfloat16 on GPUs."""
    epochs: int = Field(5, gt=0)
    """Passes over the data."""
    max_tokens: int = Field(2048, gt=0, multiple_of=64)
    """Capacity of a bin, tokens: what one worker packs into one forward pass."""
    bins_per_step: int = Field(8, gt=0)
    """Bins of one optimizer step over all workers."""
    weighting: Literal["token", "sequence", "class"] = "token"
    """`token`: by the weights in the data. `sequence`: each conversation counts the same. `class`: each class
    does, by its weights times conversations / conversations of the class (OpenChat v2's)."""
    learning_rate: float | Literal["auto"] = Field(2e-5)
    """Peak learning rate of AdamW; `auto`: 3e-4 (Mistral: 5e-5) x sqrt(targets of a step / 4 million)."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """The way from the peak to the end."""
    min_learning_rate_ratio: float = Field(0.0, ge=0, le=1)
    """Learning rate at the end, as a share of the peak; `constant` stays at the peak."""
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
    lora: LoraConfig = LoraConfig()
    """Adapters in place of full fine-tuning."""
    divergence: Literal["stop", "skip"] = "stop"
    """What is done about a step whose loss or gradient is no number, or a spike: stop, or leave it out."""
    spike: float | None = Field(None, gt=1)
    """A loss of so many times the median of the last 32 steps is a spike; null for none."""
    eval_every: int | None = Field(None, gt=0)
    """Optimizer steps between losses on held-out conversations; null for the end of each epoch."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints."""
    export: ExportConfig = ExportConfig()
    """The model at the end."""
    track: TrackConfig = TrackConfig()
    """Where people watch."""
    max_failures: int = Field(3, ge=0)
    """Times that lost workers are replaced, from the last checkpoint, before the run gives up."""
    seed: int = 42
    """Of the order of conversations."""

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _check_rate(cls, value: Any) -> float | str:
        try:
            rate = float(value) if value != "auto" else value
        except (TypeError, ValueError):
            rate = 0.0
        if rate != "auto" and not rate > 0:
            raise ValueError("must be a number above 0, or auto")
        return rate

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bins_per_step < self.num_workers:
            raise ValueError(
                f"bins_per_step {self.bins_per_step} must be at least num_workers {self.num_workers}, "
                "so that every worker has a bin"
            )
        if self.min_workers is not None and self.min_workers > self.num_workers:
            raise ValueError(f"min_workers {self.min_workers} must be at most num_workers {self.num_workers}")
        zero = self.strategy != "fsdp2"
        if self.deepspeed is not None and not zero:
            raise ValueError(
                "deepspeed is given, but strategy is fsdp2: set strategy to zero1, zero2 or zero3"
            )
        if zero and self.divergence == "skip":
            raise ValueError(
                f"divergence skip needs strategy fsdp2: DeepSpeed ({self.strategy}) updates before the "
                "gradient's norm is known"
            )
        if zero and self.lora.rank:
            raise ValueError(f"lora needs strategy fsdp2, not {self.strategy}")
        return self
