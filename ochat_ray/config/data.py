"""From saved pages to token files."""

from __future__ import annotations

from pydantic import Field

from ochat_ray.strict import StrictModel


class DataConfig(StrictModel):
    """What is kept, and how the work is cut up. The output does not depend on how many workers there are."""

    models: tuple[str, ...] = ("Model: GPT-4",)
    """Keep conversations answered by these models, exactly as the page names them; empty keeps all."""
    blocked_words: tuple[str, ...] = ("openai",)
    """Turn away conversations with any of these whole words outside code, in any case."""
    min_messages: int = Field(2, ge=1)
    """Fewest messages of a conversation, after repair."""
    eval_fraction: float = Field(0.01, ge=0, lt=1)
    """Share of conversations held out, chosen by a hash of their text."""
    max_tokens: int | None = Field(None, gt=0)
    """Longer conversations are cut here, tokens; null for the model type's context."""
    pages_per_task: int = Field(500, gt=0)
    """Pages cleaned by one task, and the unit of what a crash can lose."""
    partitions: int = Field(8, gt=0)
    """Parts of the deduplication and of every output; more for more memory-hungry inputs."""
