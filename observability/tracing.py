"""Traces with OpenTelemetry. They are off without `OTEL_EXPORTER_OTLP_ENDPOINT`, and then no SDK is imported.

The variables of OpenTelemetry apply, such as `OTEL_TRACES_SAMPLER` and `OTEL_EXPORTER_OTLP_HEADERS`. Spans are exported
over OTLP/HTTP in the background. If no collector responds, spans are dropped after a while.

Firestore triggers drop the trace context. Documents therefore contain the context as a `traceparent` (W3C Trace
Context). The functions of this module take and return this text.
"""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from observability import request_context
from observability.request_context import RequestContext

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_SHUTDOWN_SECONDS = 1.0
"""How long the end of a process waits for the collector. Cloud Run kills a process 10 s after SIGTERM."""

is_on = False
"""Whether this process records traces. Code that needs time to prepare a span checks this first."""

_provider: Any = None
_tracer: Any = None


def check(environ: Mapping[str, str]) -> None:
    """Raise `ValueError` if an environment names an endpoint without `http` or `https`. Each export would fail."""
    for name in _ENDPOINT_VARIABLES:
        if (address := environ.get(name)) and not address.startswith(("http://", "https://")):
            raise ValueError(f"{name} must be a URL such as http://127.0.0.1:4318, got {address}")


def configure(service: str) -> None:
    """Record traces of this process as the service `service`, if the environment names an endpoint.

    Raises `ValueError` if a variable of OpenTelemetry is invalid.
    """
    global is_on, _provider, _tracer
    check(os.environ)
    if not any(os.environ.get(name) for name in _ENDPOINT_VARIABLES) or os.environ.get("OTEL_SDK_DISABLED") == "true":
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("dropzone")
    is_on = True


def shutdown() -> None:
    """Export the waiting spans. Each process calls this before it ends.

    If the collector does not respond, the spans are lost: OpenTelemetry itself would delay the end by up to 30 s.
    """
    if _provider is not None:
        exporting = threading.Thread(target=_provider.shutdown, daemon=True)
        exporting.start()
        exporting.join(_SHUTDOWN_SECONDS)


def start(
    name: str,
    kind: str,
    *,
    parent: str = "",
    links: Iterable[str] = (),
    attributes: Mapping[str, str | int] | None = None,
) -> "Span | None":
    """Start a span, or return None if traces are off or this trace is not sampled.

    `kind` is a name of `SpanKind`, such as `SERVER`. `parent` and `links` are values of `traceparent`.
    """
    if not is_on:
        return None
    from opentelemetry.trace import Link, SpanKind

    span: Span = _tracer.start_span(
        name,
        context=_context(parent),
        kind=SpanKind[kind],
        links=[Link(context) for link in links if (context := _span_context(link)) is not None],
        attributes=attributes,
    )
    return span if span.is_recording() else None


def traceparent(span: "Span") -> str:
    """Return the value of `traceparent` with which other processes continue the trace of `span`."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def link(span: "Span", other: "Span") -> None:
    """Link a span to another span, for example of another trace."""
    span.add_link(other.get_span_context())


def end(span: "Span | None", problem: str | None = None, **attributes: str | int) -> None:
    """End a span. If there is a `problem`, the span has failed. Does nothing without a span."""
    if span is None:
        return
    from opentelemetry.trace import StatusCode

    for name, value in attributes.items():
        span.set_attribute(name, value)
    if problem is not None:
        span.set_status(StatusCode.ERROR, problem)
    span.end()


def continue_request(context: RequestContext, span: "Span | None") -> None:
    """Make `span` the span of a request. The log lines and documents of the request then refer to this span."""
    if span is not None:
        own = span.get_span_context()
        context.trace_id, context.span_id = f"{own.trace_id:032x}", f"{own.span_id:016x}"
        context.is_sampled = True


@contextlib.contextmanager
def request_span(name: str, kind: str, *, parent: str, links: Iterable[str] = ()) -> "Iterator[Span | None]":
    """Serve one request within a span. Log lines and documents refer to this span."""
    span = start(name, kind, parent=parent, links=links)
    context = RequestContext(traceparent=parent.encode())
    continue_request(context, span)
    request_context.enter(context)
    try:
        yield span
    except BaseException as error:
        end(span, problem=type(error).__name__)
        raise
    end(span)


def _context(parent: str) -> Any:
    """Return the OpenTelemetry context with a remote parent. Without a parent, the span starts a new trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if not parent:
        return Context()
    return TraceContextTextMapPropagator().extract({"traceparent": parent}, Context())


def _span_context(parent: str) -> Any:
    from opentelemetry.trace import get_current_span

    context = get_current_span(_context(parent)).get_span_context()
    return context if context.is_valid else None
