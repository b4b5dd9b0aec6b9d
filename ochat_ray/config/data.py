"""From saved chats to token files."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ochat_ray.config.filters import FilterConfig
from ochat_ray.strict import StrictModel


class ClassConfig(StrictModel):
    """Conversations answered by some models: what conditions them, and how much their answers count."""

    condition: str
    """The condition that conditioned model types put into their prefixes, and the class's name."""
    models: tuple[str, ...] = ("*",)
    """Labels of the models, as in `filters.models`; `*` for all, the unlabelled included."""
    weight: float = Field(1.0, ge=0)
    """Loss weight of the answers of this class (C-RLFT's reward), times each turn's own."""


class NearDuplicateConfig(StrictModel):
    """Conversations that differ in little: MinHash over word n-grams, banded (LSH), joined to clusters."""

    action: Literal["off", "drop", "group"] = "off"
    """`drop` keeps the best of each cluster, `group` keeps all but on one side of the split."""
    jaccard: float = Field(0.75, gt=0, lt=1)
    """Estimated share of common word n-grams from which two conversations are near-duplicates."""
    ngram: int = Field(3, ge=1, le=32)
    """Words of an n-gram."""
    bands: int = Field(20, gt=0)
    """Bands of the signature: two conversations are compared where any band agrees."""
    rows: int = Field(6, gt=0)
    """Hashes of a band; the signature has `bands` times `rows`."""


class DataConfig(StrictModel):
    """What is kept, and how the work is cut up. The output does not depend on how many workers there are."""

    filters: FilterConfig = FilterConfig()
    """Which conversations are turned away."""
    near_duplicates: NearDuplicateConfig = NearDuplicateConfig()
    """What is done about conversations that differ in little. Equal ones are always dropped but one."""
    classes: tuple[ClassConfig, ...] = ()
    """Classes of conversations, the first that fits; empty for none."""
    eval_fraction: float = Field(0.01, ge=0, lt=1)
    """Share of conversations held out, chosen by a hash of their id."""
    max_tokens: int | None = Field(None, gt=0)
    """Longest row of tokens; null for the model type's context."""
    long_conversations: Literal["truncate", "split", "drop"] = "truncate"
    """What is done with longer ones: cut at the end, split at turns into several rows, or turned away."""
    openchat_files: tuple[Literal["json", "parquet"], ...] = ()
    """Also write OpenChat's own files to `openchat/`: MODEL_TYPE.train.json with .text.json, or .parquet."""
    task_mb: int = Field(32, gt=0)
    """Megabytes of input of one task, and about what a crash can lose."""
    rows_per_shard: int = Field(3000, gt=0)
    """Conversations of one shard of the output, about; less for less memory a worker."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [one.condition for one in self.classes]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"classes: condition {twice!r} is given twice")
        return self
