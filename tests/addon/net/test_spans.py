# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""When spans are recorded, and how they hang together."""

from __future__ import annotations

import builtins
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from addon.net import spans, tracing
from addon.net.tracing import FORM, question, trace, traced

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def recorded() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    recorder = spans.Spans(provider)
    tracing.record(recorder)
    yield exporter
    tracing.record(None)
    recorder.close()


def number(span: ReadableSpan | None) -> int:
    assert span is not None
    assert span.context is not None
    return int(span.context.span_id)


def test_a_question_is_below_its_answer_and_that_below_who_sent_the_trace(recorded: InMemorySpanExporter) -> None:
    with traced(GIVEN.encode(), "GET", {"url.path": "/blog/"}) as outcome:
        with question("Forgejo", "repository: /api/v1/repos/alice/blog") as asked:
            seen = trace()
            asked.came_to = "200"
        outcome["http.response.status_code"] = 200
    below, above = recorded.get_finished_spans()
    assert (above.name, above.kind, above.attributes) == (
        "GET",
        SpanKind.SERVER,
        {"url.path": "/blog/", "http.response.status_code": 200},
    )
    assert (below.name, below.kind) == ("Forgejo repository", SpanKind.CLIENT)
    assert below.attributes == {
        "peer.service": "Forgejo",
        "pages.question": "repository: /api/v1/repos/alice/blog",
        "pages.came_to": "200",
    }
    assert above.parent is not None
    assert f"{above.parent.trace_id:032x}-{above.parent.span_id:016x}" in GIVEN
    assert below.parent is not None
    assert below.parent.span_id == number(above)
    assert FORM.fullmatch(seen.encode())
    assert f"{number(below):016x}" in seen  # what is asked elsewhere is below the question
    assert trace() == ""


def test_what_ends_by_an_exception_has_failed_and_its_text_is_not_told(recorded: InMemorySpanExporter) -> None:
    with (
        pytest.raises(ValueError, match="secret"),
        traced(None, "GET", {}),
        question("Redis", "a job"),
    ):
        raise ValueError("secret")
    for span in recorded.get_finished_spans():
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "ValueError"
        assert "secret" not in span.to_json()


@pytest.mark.parametrize("sent", [b"", b"nonsense", GIVEN.upper().encode(), GIVEN.encode() + b"-x"])
def test_a_trace_of_another_form_is_not_believed(recorded: InMemorySpanExporter, sent: bytes) -> None:
    with traced(sent, "GET", {}):
        pass
    (span,) = recorded.get_finished_spans()
    assert span.parent is None


def test_without_a_recorder_the_trace_is_passed_on_as_it_came() -> None:
    with traced(GIVEN.encode(), "GET", {}), question("Forgejo", "x"):
        assert trace() == GIVEN


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "pages"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": " "}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_the_environment_asks_for_spans_or_does_not(environ: dict[str, str], wanted: bool) -> None:
    assert spans.asked_for(environ) is wanted


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin is not supported"),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "the OTLP protocol grpc is not supported"),
    ],
)
def test_what_cannot_be_sent_is_said(environ: dict[str, str], said: str, caplog: pytest.LogCaptureFixture) -> None:
    assert spans.started(environ) is None
    assert said in caplog.text


def test_packages_that_are_missing_are_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    imported = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(f"No module named {name!r}", name="opentelemetry")
        return imported(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with caplog.at_level(logging.WARNING):
        assert spans.started(ENDPOINT) is None
    assert re.search(r"opentelemetry is not installed; pip install '.*\[tracing\]'", caplog.text)
