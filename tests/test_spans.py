"""OpenTelemetry's spans: to a collector where the standard variables say so, and nothing at all where they do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.harness import ROOT

WORK = """
import asyncio, json, sys
from pathlib import Path
from fastapi.testclient import TestClient
from serving.app import create_app
from state.request import Endpoint
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint.chat import ChatCall
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.http_transport import HttpTransport
from tools.settings import load_settings
from tools.spans import flush_spans, span

settings = load_settings()
with TestClient(create_app(lambda: settings), base_url="http://localhost", client=("127.0.0.1", 1)) as browser:
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    answer = browser.get("/healthz", headers=trace | {"x-request-id": "req-1"})
    print(json.dumps(answer.headers["x-request-id"]))
    print(json.dumps(browser.get("/healthz", headers={"x-request-id": "no\\tid"}).headers["x-request-id"]))

async def call():
    with ScriptedServer() as server:
        spec = Endpoint(base_url=server.url, model=MODEL)
        endpoint = LedgeredEndpoint(HttpTransport(server.url), MemoryLedger(), spec, "run-1")
        with span("step respond", corral__run="run-1"):
            await endpoint.complete(ChatCall(purpose="respond", messages=({"role": "user", "content": "a secret"},)))

asyncio.run(call())
flush_spans()
print(json.dumps(sorted(name for name in sys.modules if "trace_exporter" in name)))
"""
ONE_SPAN = """
import json, sys
from tools.settings import load_settings
from tools.spans import configure_spans, flush_spans, span
configure_spans(load_settings())
with span("step gate", corral__run="run-1") as opened:
    opened.note(corral__rows=3)
flush_spans()
print(json.dumps(sorted(name for name in sys.modules if name.startswith("opentelemetry"))))
"""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Receive what an exporter sends."""
    sent: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", sent
    server.shutdown()
    thread.join()
    server.server_close()


def work(home: Path, script: str = WORK, **variables: str) -> list[Any]:
    """Run a script in a process of its own; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment = kept | {"CORRAL_HOME": str(home), "PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_requests_steps_and_calls_are_spans_of_one_trace_each_and_hold_no_text(
    tmp_path: Path, collector: tuple[str, list[bytes]]
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    url, sent = collector
    given, made, modules = work(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_SERVICE_NAME="my-corral")
    assert given == "req-1" and isinstance(made, str) and len(made) == 16 and modules
    whole = b"".join(sent)
    assert b"a secret" not in whole and b"my-corral" in whole
    spans = {}
    for body in sent:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for one in scope.spans:
                    values = {a.key: a.value.string_value or a.value.int_value for a in one.attributes}
                    spans.setdefault(one.name, (one, values))
    request, values = spans["request"]
    assert request.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c", "under the caller's own span"
    assert values["http.route"] == "/healthz" and values["corral.request"] == "req-1"
    step, _ = spans["step respond"]
    call, values = next(found for name, found in spans.items() if name.startswith("chat "))
    assert call.parent_span_id == step.span_id and values["gen_ai.operation.name"] == "chat"
    assert values["gen_ai.usage.output_tokens"] > 0 and values["corral.run"] == "run-1"


def test_nothing_is_imported_where_no_collector_is_named(tmp_path: Path) -> None:
    assert work(tmp_path, ONE_SPAN) == [[]]
    assert work(tmp_path, ONE_SPAN, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_SDK_DISABLED="true") == [[]]


def test_a_collector_that_is_gone_holds_nobody(tmp_path: Path) -> None:
    began = time.monotonic()
    assert work(tmp_path, ONE_SPAN, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")[0]
    assert time.monotonic() - began < 30
