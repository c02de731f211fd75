# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Spans of OpenTelemetry: one for each answer that had to be made, and below it one for each question to others.

Knows the environment's `OTEL_…` and nothing of requests; `tracing` calls it. What is ready in memory has no span, so it
costs nothing. The packages are an extra (`tracing`) and are imported only where the environment asks for spans. The
surprise: a parent is passed as its `traceparent` and not in OpenTelemetry's own context, for what is asked may be asked
in a task of somebody else's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from addon.net.tracing import Attributes, TracedWork

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

EXTRA: Final = "pip install 'forgejo-pages-mitmproxy[tracing]'"
_ASKS: Final = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def asked_for(environ: Mapping[str, str]) -> bool:
    """Whether the environment wants spans, by the rules of OpenTelemetry's SDK; without any of `_ASKS`, none."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter != "none" and any(environ.get(name, "").strip() for name in _ASKS)


def started(environ: Mapping[str, str]) -> Spans | None:
    """What records spans and sends them away, if the environment asks for it; else None. What is wrong is logged.

    Sent by OTLP over HTTP to a collector, or written to standard output (`OTEL_TRACES_EXPORTER=console`). The rest of
    `OTEL_…` (service name, sampler, headers, limits) is read by the packages.
    """
    if not asked_for(environ):
        return None
    kind = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    protocol = next((environ[name].strip() for name in _PROTOCOLS if environ.get(name, "").strip()), "http/protobuf")
    if kind not in ("otlp", "console") or (kind == "otlp" and protocol != "http/protobuf"):
        said = f"OTEL_TRACES_EXPORTER={kind}" if kind != "otlp" else f"the OTLP protocol {protocol}"
        logger.warning("tracing is off: %s is not supported; set otlp over http/protobuf, console or none", said)
        return None
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

        exporter: SpanExporter
        if kind == "console":
            exporter = ConsoleSpanExporter()
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
    except ImportError as missing:
        logger.warning(
            "tracing is off, though the environment asks for it: %s is not installed; %s", missing.name, EXTRA
        )
        return None
    named = Resource.create() if environ.get("OTEL_SERVICE_NAME") else Resource.create({SERVICE_NAME: "forgejo-pages"})
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Spans(provider)


class Spans:
    """Begins and ends spans."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("forgejo-pages")
        self._kinds = {TracedWork.ANSWER: SpanKind.SERVER, TracedWork.QUESTION: SpanKind.CLIENT}
        self._failed: Callable[[str], Any] = lambda why: Status(StatusCode.ERROR, why)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, kind: TracedWork, name: str, parent: str, attributes: Attributes
    ) -> Iterator[tuple[str, Attributes]]:
        """Work is done within. parent: a `traceparent`, "" for none. Gives its own, and a place for what comes of it.

        An exception that ends it, of which the name alone is told, makes it a failed one.
        """
        from opentelemetry.trace import set_span_in_context

        above = self._propagator.extract({"traceparent": parent}) if parent else None
        span = self._tracer.start_span(name, context=above, kind=self._kinds[kind], attributes=dict(attributes))
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        outcome: Attributes = {}
        try:
            yield carrier.get("traceparent", ""), outcome
        except BaseException as error:
            outcome.setdefault("error.type", type(error).__name__)
            raise
        finally:
            span.set_attributes(outcome)
            if "error.type" in outcome:
                span.set_status(self._failed(str(outcome["error.type"])))
            span.end()

    def close(self, seconds: float = 3.0) -> None:
        """Send what is left, for so long at the most: a collector that is away holds up no end."""
        ending = threading.Thread(target=self._provider.shutdown, name="spans-end", daemon=True)
        ending.start()
        ending.join(seconds)
