"""Serving."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ochat_ray.strict import StrictModel


class EngineConfig(StrictModel):
    """The native engine: continuous batching over one key/value cache."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of weights and cache; `auto`: bfloat16 on GPUs, float32 elsewhere."""
    threads: int = Field(1, gt=0)
    """CPU threads of a replica; more than the free cores is many times slower."""
    max_running: int = Field(16, gt=0)
    """Requests that generate at the same time; others wait."""
    cache_tokens: int = Field(65536, ge=128)
    """Room for keys and values, tokens, over all running requests."""
    prefill_chunk: int = Field(512, gt=0)
    """Most prompt tokens of one step, so that long prompts do not stall running requests."""


class ServeConfig(StrictModel):
    """The OpenAI-compatible endpoint."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of them."""
    port: int = Field(18888, gt=0, lt=65536)
    """Port of the endpoint."""
    model_name: str | None = None
    """Name that clients ask for; null for the model type's name."""
    replicas: int = Field(1, gt=0)
    """Engine replicas."""
    gpus_per_replica: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = "auto"
    """GPUs of an engine replica, which uses one at most: 0, 1, or a share of one; `auto`: 1 where a node of
    the cluster has any at the start. Give a number where GPU nodes are brought up on demand."""
    max_queued: int = Field(256, gt=0)
    """Requests that may wait for a replica; more are answered 429."""
    request_timeout_s: float = Field(600.0, gt=0)
    """Longest time for one request, seconds."""
    engine: EngineConfig = EngineConfig()
    """The engine of each replica."""
