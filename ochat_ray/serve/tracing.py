"""Tracing by choice: where the spans of Serve go, and what a request came to on the one that stands for it.

Ray Serve makes the spans (proxy, ingress, engine) and passes W3C's `traceparent` on, where
RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH names a function like `otlp`. Attributes have the names of
OpenTelemetry's semantic conventions for generative AI; texts and keys are never among them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace

from ochat_ray.errors import ConfigError

CHOSEN = "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"
OTLP = f"{__name__}:otlp"
NAMES = {
    "model": "gen_ai.response.model",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "first_token_s": "gen_ai.response.time_to_first_chunk",
    "error_code": "error.type",
}
"""By the names of a request's account."""


def otlp() -> list[Any]:
    """Sends spans in batches over OTLP/HTTP, as OTEL_EXPORTER_OTLP_ENDPOINT and its kin say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return [BatchSpanProcessor(OTLPSpanExporter())]


def require_exporter() -> None:
    """Raises ConfigError where `otlp` is asked for and not installed: Serve's processes tell of it badly."""
    if os.environ.get(CHOSEN) != OTLP:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{CHOSEN}={OTLP}: is an extra; pip install 'ochat-ray[tracing]'") from error


def tell(account: Mapping[str, Any]) -> str | None:
    """Put a request that is over on its span; returns the id of the trace, None where it is not traced."""
    span = trace.get_current_span()
    if not span.is_recording():
        return None
    facts = {name: account[fact] for fact, name in NAMES.items() if account.get(fact) is not None}
    if account.get("finish_reason") is not None:
        facts["gen_ai.response.finish_reasons"] = [account["finish_reason"]]
    span.set_attributes(facts)
    return trace.format_trace_id(span.get_span_context().trace_id)


def first_token() -> None:
    """Mark the first token of a reply on the engine's span: what was before it was waiting and prefill."""
    trace.get_current_span().add_event("first token")
