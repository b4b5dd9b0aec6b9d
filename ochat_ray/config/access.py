"""Who may use the endpoint, how much, and what is written down of it."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from ochat_ray.strict import StrictModel, absolute


class LogConfig(StrictModel):
    """A file with a JSON line for each request; each process has one of its own, named beside `path`."""

    path: str
    """File, e.g. logs/requests.jsonl; written are requests-HOST-0.jsonl, requests-HOST-1.jsonl and so on."""
    max_mb: float = Field(100.0, gt=0)
    """Megabytes from which a file is put aside and another begun."""
    backups: int = Field(5, gt=0)
    """Files put aside that are kept of each."""
    content: Literal["none", "hashed", "full"] = "none"
    """Of what is said: nothing; lengths and keyed hashes, which tell equal texts of one process; or all."""


class AccessConfig(StrictModel):
    """Who may use the endpoint, how much, and what is written down of it."""

    keys_file: str | None = None
    """File that `ochat-ray keys` writes, on every node, read again when it changes; null asks for no keys."""
    limits_storage: str | None = None
    """Redis that counts for all ingress replicas, e.g. redis://:$REDIS_PASSWORD@host:6379/0 with variables of
    the environment; null counts in each replica by itself."""
    open_metrics: bool = False
    """Whether /metrics needs no key where others do."""
    cors_origins: tuple[str, ...] = ()
    """Web sites whose pages may use the endpoint, e.g. [https://example.com]; `*` for all."""
    max_body_mb: float = Field(4.0, gt=0)
    """Longest request body, megabytes."""
    body_timeout_s: float = Field(30.0, gt=0)
    """Longest time for a client to send its body, seconds."""
    log: LogConfig | None = None
    """A log of requests; null for none."""

    def resolved(self) -> AccessConfig:
        """The same with absolute paths: replicas run in folders of their own."""
        keys_file = None if self.keys_file is None else absolute(self.keys_file)
        log = None if self.log is None else self.log.replace(path=absolute(self.log.path))
        return self.replace(keys_file=keys_file, log=log)

    @field_validator("limits_storage")
    @classmethod
    def _check_storage(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "redis+unix://")):
            raise ValueError("expected a URI such as redis://host:6379/0")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            plain = parts.scheme in ("http", "https") and parts.hostname
            if origin != "*" and (not plain or origin != f"{parts.scheme}://{parts.netloc}"):
                raise ValueError(
                    f"{origin!r} is no origin; write scheme and host without a path, e.g. https://example.com"
                )
        return value
