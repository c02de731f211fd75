# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Spans at a collector, sent by a real mitmdump whose environment asks for them."""

from __future__ import annotations

import gzip
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from addon.preview.forge import Forge
from tests.integration.running import PAGES_DOMAIN, Proxy, mitmdump_command, spawn, wait_for_port, write_config
from tests.ports import free_port
from tests.waiting import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        self.taken: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    data = gzip.decompress(data)
                if self.path == "/v1/traces":
                    collector.taken.append(ExportTraceServiceRequest.FromString(data))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


def test_what_is_made_is_told_and_what_is_left_is_sent_at_the_end(
    collector: Collector, forge: Forge, tmp_path: Path
) -> None:
    port = free_port()
    config = write_config(tmp_path, forge.url, port)
    # Nothing is sent before the end.
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    process, log = spawn(tmp_path, mitmdump_command(config), **asked)
    try:
        wait_for_port(process, port, log)
        proxy = Proxy(process, port, log)
        given = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        for _ in range(20):  # most of which are ready in memory
            assert proxy.get(f"alice.{PAGES_DOMAIN}", "/blog/?token=secret", given).status == 200
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: collector.taken)
    sent = [each for request in collector.taken for each in request.resource_spans]
    attributes = {each.key: each.value.string_value for each in sent[0].resource.attributes}
    assert attributes["service.name"] == "forgejo-pages"
    spans = [span for each in sent for scope in each.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    answers = [span for span in spans if span.name == "GET"]
    assert 1 <= len(answers) <= 5
    assert {span.parent_span_id for span in spans if span not in answers} <= {span.span_id for span in answers}
    assert "Forgejo repository" in {span.name for span in spans}
    assert "secret" not in repr(spans)
    assert "Traceback" not in log.read_text()
