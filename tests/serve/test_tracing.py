"""Tracing by choice: one trace of a request across the processes that answer it, at a collector over OTLP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ochat_ray.errors import ConfigError
from ochat_ray.serve import tracing
from tests.ports import free_port
from tests.waiting import wait_for

PATIENCE_S = 120.0
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector(ThreadingHTTPServer):
    """Keeps the spans that are sent to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.spans: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_is_one_trace_from_the_client_to_the_engine(
    collector: Collector, model_dir: Path, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "requests.jsonl"
    settings = {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "ochat_ray.serve.tracing:otlp",
        "RAY_SERVE_TRACING_SAMPLING_RATIO": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    command = [
        sys.executable,
        "-m",
        "ochat_ray",
        "serve",
        str(model_dir),
        "--recipe=tiny-cpu",
        f"serve.port={port}",
    ]
    command += ["serve.chat_page.enabled=false", f"serve.access.log.path={log}"]
    server = subprocess.Popen(command, env={**os.environ, **settings})
    try:
        wait_for(lambda: answers(port) or server.poll() is not None, what="server", seconds=PATIENCE_S)
        assert server.poll() is None
        body = {"model": "openchat", "messages": [{"role": "user", "content": "a secret"}], "max_tokens": 4}
        body |= {"stream": True, "temperature": 0}
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        assert httpx2.post(url, json=body, timeout=60).status_code == 200
        traced = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        assert httpx2.post(url, json=body, headers=traced, timeout=60).status_code == 200
        wait_for(lambda: len(whole_traces(collector)) == 2, what="second trace", seconds=PATIENCE_S)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(PATIENCE_S)
    traces = whole_traces(collector)
    assert TRACE in traces  # the client's own, and one that Serve began
    for spans in traces.values():
        entry_ids = {span.span_id for span in spans.values()}
        outer = [span for span in spans.values() if span.parent_span_id not in entry_ids]
        assert [span.name for span in outer] == [next(name for name in spans if name.startswith("proxy"))]
        assert not any("fastapi" in name for name in spans)
    spans = traces[TRACE]
    ingress = facts(spans["replica_handle_request ingress __call__"])
    assert ingress["gen_ai.response.model"] == "openchat"
    assert ingress["gen_ai.usage.output_tokens"] == 4
    assert 0 < ingress["gen_ai.response.time_to_first_chunk"] < PATIENCE_S
    assert ingress["gen_ai.response.finish_reasons"] == ["length"]
    engine = spans["replica_handle_request engine generate"]
    assert [event.name for event in engine.events] == ["first token"]
    answered = [line for line in lines(tmp_path) if line["path"] == "/v1/chat/completions"]
    assert {line["trace_id"] for line in answered} == set(traces)
    (entry,) = [line for line in answered if line["trace_id"] == TRACE]
    assert entry["request_id"] == ingress["request_id"]
    assert "a secret" not in str(collector.spans)


def answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/ready").status_code == 200
    except httpx2.HTTPError:
        return False


def whole_traces(collector: Collector) -> dict[str, dict[str, Any]]:
    """Spans by name, by trace, of traces that reach from the proxy to the engine."""
    traces: dict[str, dict[str, Any]] = {}
    for span in list(collector.spans):
        traces.setdefault(span.trace_id.hex(), {})[span.name] = span
    needed = ("proxy", "replica_handle_request ingress __call__", "replica_handle_request engine generate")
    return {
        trace: spans
        for trace, spans in traces.items()
        if all(any(name.startswith(one) for name in spans) for one in needed)
    }


def facts(span: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found


def lines(folder: Path) -> list[dict[str, Any]]:
    found = folder.glob("requests*.jsonl")
    return [json.loads(line) for path in found for line in path.read_text().splitlines()]


def test_a_request_that_is_not_traced_has_no_trace() -> None:
    tracing.first_token()
    assert tracing.tell({"model": "openchat"}) is None


def test_a_span_gets_what_is_known_and_no_more() -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with provider.get_tracer("test").start_as_current_span("request") as span:
        told = tracing.tell({"model": "openchat", "error_code": "timeout", "messages": ["a secret"]})
    assert told == trace.format_trace_id(span.get_span_context().trace_id)
    (one,) = kept.get_finished_spans()
    assert one.attributes == {"gen_ai.response.model": "openchat", "error.type": "timeout"}


def test_without_the_exporter_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    tracing.require_exporter()  # nobody asked for it
    monkeypatch.setenv("RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH", "ochat_ray.serve.tracing:otlp")
    with pytest.raises(ConfigError, match=r"ochat-ray\[tracing\]"):
        tracing.require_exporter()
