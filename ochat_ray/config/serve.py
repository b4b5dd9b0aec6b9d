"""Serving."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ochat_ray.config.access import AccessConfig
from ochat_ray.config.pool import Pool
from ochat_ray.config.web import ChatPageConfig, WidgetConfig
from ochat_ray.strict import StrictModel


class EngineConfig(StrictModel):
    """The engine: continuous batching over one key/value cache."""

    kind: Literal["native", "vllm"] = "native"
    """Ours, or vLLM's (extra `vllm`)."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the weights; `auto`: bfloat16 on GPUs, float32 elsewhere."""
    threads: int = Field(1, gt=0)
    """CPU threads of a replica; more than the free cores is many times slower."""
    max_running: int = Field(16, gt=0)
    """Requests that generate at the same time; others wait."""
    cache_tokens: int = Field(65536, ge=128)
    """Room for keys and values, tokens, over all running requests and what is kept of earlier ones."""
    prefill_chunk: int = Field(512, gt=0)
    """Most prompt tokens of one step, so that long prompts do not stall running requests."""


class AutoscalingConfig(StrictModel):
    """As many engine replicas as there is work for."""

    min_replicas: int = Field(1, ge=0)
    """Fewest; with 0 the first request after a rest waits for the model to load."""
    max_replicas: int | None = Field(None, gt=0)
    """Most; null for always `serve.replicas`."""
    target_requests: float = Field(8.0, gt=0)
    """Requests of a replica, running and waiting, that are aimed at."""
    upscale_delay_s: float = Field(10.0, ge=0)
    """Time for which more must be wanted, seconds."""
    downscale_delay_s: float = Field(300.0, ge=0)
    """Time for which fewer must suffice, seconds."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_replicas is not None and self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas {self.min_replicas} is more than max_replicas {self.max_replicas}"
            )
        return self


class ServeConfig(StrictModel):
    """The OpenAI-compatible endpoint."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of them."""
    port: int = Field(18888, gt=0, lt=65536)
    """Port of the endpoint."""
    model_name: str | None = None
    """Name that clients ask for; null for the model type's name."""
    aliases: dict[str, str] = Field({})
    """Further names, e.g. {gpt-4o-mini: openchat}."""
    replicas: int = Field(1, gt=0)
    """Engine replicas of each model."""
    autoscaling: AutoscalingConfig = AutoscalingConfig()
    """More and fewer of them by themselves."""
    ingress_replicas: int = Field(1, gt=0)
    """Replicas of the HTTP side; each serves some hundred streams."""
    one_hop: bool = False
    """HTTP and engine in one process: the least delay, for one replica of one model."""
    gpus_per_replica: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = "auto"
    """GPUs of an engine replica, which uses one at most: 0, 1, or a share of one; `auto`: 1 where a node of
    the cluster has any at the start. Give a number where GPU nodes are brought up on demand."""
    pool: Pool | None = None
    """Custom resource of the nodes to run on, so that serving has nodes of its own; null for any node."""
    max_queued: int = Field(256, gt=0)
    """Requests that may wait for a replica; more are answered 429."""
    request_timeout_s: float = Field(600.0, gt=0)
    """Longest time for one request, seconds."""
    engine: EngineConfig = EngineConfig()
    """The engine of each replica."""
    access: AccessConfig = AccessConfig()
    """Keys, limits and the log of requests."""
    chat_page: ChatPageConfig = ChatPageConfig()
    """The page at /chat."""
    widget: WidgetConfig = WidgetConfig()
    """The chat window for other pages."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        several = self.replicas > 1 or self.ingress_replicas > 1 or self.autoscaling.max_replicas is not None
        if self.one_hop and several:
            raise ValueError("one_hop is for one replica: leave replicas and autoscaling as they are")
        return self
